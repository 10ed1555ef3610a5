# shellcheck shell=bash
# Starts the programs of `make up`, and restarts those that die. Sourced after processes.sh.
#
# A program that dies is restarted after a pause, which doubles with each restart. Once a program has run for
# RESTART_STEADY_MS, the next pause is the shortest one again. The script gives up and exits with the end of the
# program's log if the program dies sooner than that after each of RESTARTS_MAX restarts in a row, or was not ready at
# its first start. No separate process supervises: nothing is restarted once the script stops or is killed.

# The tests use shorter times.
RESTARTS_MAX=${RESTARTS_MAX:-5}
RESTART_PAUSE_MS=${RESTART_PAUSE_MS:-1000}
RESTART_PAUSE_MAX_MS=${RESTART_PAUSE_MAX_MS:-10000}
RESTART_STEADY_MS=${RESTART_STEADY_MS:-10000}
# `wait -n` misses a program that dies just before the call. Such a death is noticed after at most this time.
readonly POLL_MS=5000

# Keys are program names. Times are in ms, as in NOW.
declare -A STARTED_AT=() RESTART_AT=() RESTARTS=() WAS_READY=() PRINTER=()

# Runs until it gives up on a program. RESTART NAME restarts a program in the background and writes its pid file. READY
# NAME succeeds if a program that died for the first time had been ready.
#
# Avoids `$(…)` where possible; see processes.sh.
supervise() { # RESTART READY NAME…
    local restart=$1 ready=$2 name
    shift 2
    read_now
    for name in "$@"; do STARTED_AT[$name]=$NOW; done
    while true; do
        for name in "$@"; do
            read_now
            if [[ -n ${RESTART_AT[$name]:-} ]]; then
                if ((NOW >= RESTART_AT[$name])); then restart_program "$restart" "$name"; fi
            elif is_stopped "$STACK_DIR/pids/$name"; then
                plan_restart "$ready" "$name"
            fi
        done
        wait_for_change "$@"
    done
}

plan_restart() { # READY NAME
    local ready=$1 name=$2 pid_file=$STACK_DIR/pids/$2 log=$STACK_DIR/logs/$2.log lived=$((NOW - STARTED_AT[$2]))
    local pid status=0 pause restarts
    read -r pid _ <"$pid_file"
    # Suppress bash's report about killed children; a clearer one follows.
    { wait "$pid" || status=$?; } 2>/dev/null
    rm -f "$pid_file"
    # Its last output, which may show the cause, reaches the log through another process.
    [[ -z ${PRINTER[$name]:-} ]] || wait_until 2 has_no_process "${PRINTER[$name]}" || true
    describe_status "$status"

    if ((lived >= RESTART_STEADY_MS)); then
        RESTARTS[$name]=0
    elif [[ -z ${WAS_READY[$name]:-} ]] && ! "$ready" "$name"; then
        die_with_log "$log" "$name ended before it was ready ($STATUS)."
    fi
    WAS_READY[$name]=yes
    restarts=${RESTARTS[$name]:-0}
    describe_ms "$RESTART_STEADY_MS"
    ((restarts < RESTARTS_MAX)) ||
        die_with_log "$log" "$name ended within $SECONDS_TEXT of each of its last $restarts restarts ($STATUS)."
    pause=$((RESTART_PAUSE_MS << restarts))
    if ((pause > RESTART_PAUSE_MAX_MS)); then pause=$RESTART_PAUSE_MAX_MS; fi
    RESTARTS[$name]=$((restarts + 1))
    RESTART_AT[$name]=$((NOW + pause))
    describe_ms "$pause"
    warn "$name ended ($STATUS); restarting it in $SECONDS_TEXT (attempt ${RESTARTS[$name]} of $RESTARTS_MAX)."
    TZ=UTC printf -- '--- %(%FT%TZ)T %s ended (%s); output of attempt %d to restart it:\n' \
        -1 "$name" "$STATUS" "${RESTARTS[$name]}" >>"$log"
}

restart_program() { # RESTART NAME
    unset "RESTART_AT[$2]"
    say "Restarting $2"
    "$1" "$2"
    STARTED_AT[$2]=$NOW
}

# Returns when a program dies or a restart is due, at the latest after POLL_MS.
wait_for_change() { # NAME…
    local name pid left=$POLL_MS pids=() timer
    read_now
    for name in "$@"; do
        if [[ -z ${RESTART_AT[$name]:-} ]]; then
            read -r pid _ <"$STACK_DIR/pids/$name"
            pids+=("$pid")
        elif ((RESTART_AT[$name] - NOW < left)); then
            left=$((RESTART_AT[$name] - NOW))
        fi
    done
    ((left > 0)) || return 0
    printf -v left '%d.%03d' $((left / 1000)) $((left % 1000))
    # Without the locks of stack.sh, which must be released when the script ends.
    sleep "$left" 8>&- 9>&- &
    timer=$!
    # A signal interrupts `wait` at once, but not a foreground command.
    {
        wait -n "${pids[@]}" "$timer" || true
        kill "$timer" || true
        wait "$timer" || true
    } 2>/dev/null
}

# Sets NOW: ms since boot, independent of clock changes.
read_now() {
    read -r NOW _ </proc/uptime
    NOW=$((10#${NOW/./} * 10))
}

# Sets SECONDS_TEXT; for 1500 it is "1.5 s".
describe_ms() { # MS
    printf -v SECONDS_TEXT '%d.%03d' $(($1 / 1000)) $(($1 % 1000))
    while [[ $SECONDS_TEXT == *.*0 ]]; do SECONDS_TEXT=${SECONDS_TEXT%0}; done
    SECONDS_TEXT="${SECONDS_TEXT%.} s"
}

# Sets STATUS; for 137 it is "status 137, SIGKILL". A program may also exit with such a status without a signal.
describe_status() { # STATUS
    STATUS="status $1"
    if (($1 > 128)) && kill -l "$1" >/dev/null 2>&1; then STATUS+=", SIG$(kill -l "$1")"; fi
}

# Starts COMMAND in the background. Its output goes to the terminal and is appended to its log.
start_program() { # NAME COLOUR COMMAND…
    local name=$1 colour=$2 output
    shift 2
    exec {output}> >(show_log "$name" "$colour" "$STACK_DIR/logs/$name.log")
    PRINTER[$name]=$!
    setsid "$@" </dev/null >&"$output" 2>&1 8>&- 9>&- {output}>&- &
    record_process "$STACK_DIR/pids/$name" $!
    exec {output}>&-
}

# Copies a program's output to its log, and to the terminal with the program's name before each line.
show_log() { # NAME COLOUR LOG
    # Ctrl-C also reaches this process, which must still copy the program's last output.
    trap '' HUP INT TERM
    exec 8>&- 9>&-
    local prefix
    printf -v prefix '%-9s| ' "$1"
    if [[ -n $RESET ]]; then prefix=$'\e['"$2m$prefix$RESET"; fi
    # If the terminal is gone, continue with the log file (-p).
    tee -p -a "$3" | sed --unbuffered "s/^/$prefix/"
}
