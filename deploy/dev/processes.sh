# shellcheck shell=bash
# Long-lived processes: each starts in its own session, is recorded in a pid file and is stopped within a time limit.
# Sourced after common.sh.
#
# A pid file contains "PID START BOOT". The pid alone is not sufficient: after a crash or reboot another process may
# have it.

# Set by a second Ctrl-C: do not wait for a graceful shutdown any longer.
STOP_NOW=

# bash 5.2 cannot parse the command of a trap if the signal arrives while it expands a `$(…)`: the signal is lost, and a
# running EXIT trap is aborted. Functions that are called in a loop therefore return their results in variables.

read -r BOOT_ID </proc/sys/kernel/random/boot_id
readonly BOOT_ID

# Sets START_TIME, in clock ticks since boot. Fails if the process does not exist or is a zombie.
read_start_time() { # PID
    local stat='' fields
    { read -r -d '' stat <"/proc/$1/stat"; } 2>/dev/null || [[ -n $stat ]] || return 1
    # The command name, in parentheses, may contain any character: count the fields after it.
    read -r -a fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] || return 1
    START_TIME=${fields[19]}
}

record_process() { # PID_FILE PID
    # A process that has already ended is recorded as not running.
    read_start_time "$2" || START_TIME=gone
    mkdir -p "$(dirname "$1")"
    echo "$2 $START_TIME $BOOT_ID" >"$1"
}

# Succeeds and sets RUNNING_PID if the recorded process is still running.
is_running() { # PID_FILE
    local start boot
    [[ -f $1 ]] && read -r RUNNING_PID start boot <"$1" || return 1
    [[ $boot == "$BOOT_ID" ]] && read_start_time "$RUNNING_PID" && [[ $START_TIME == "$start" ]]
}

# Prints the pid if the recorded process is still running.
running_pid() { # PID_FILE
    is_running "$1" && echo "$RUNNING_PID"
}

is_stopped() { ! is_running "$1"; }

# Also false for a zombie: a killed process remains one until its parent reaps it.
has_no_process() { # PID
    ! kill -0 "$1" 2>/dev/null
}

# Starts a new log and keeps the previous one. Not used for restarts: the log must still show why the process died.
begin_log() { # LOG
    mkdir -p "$(dirname "$1")"
    if [[ -s $1 ]]; then mv "$1" "$1.previous"; fi
    : >"$1"
}

# Runs COMMAND in the background and records it. The terminal's Ctrl-C does not reach its separate session: this script
# decides the order in which processes stop. File descriptors 8 and 9 are the locks of stack.sh; the process must not
# inherit them, because they must be released when the script ends.
start_detached() { # PID_FILE LOG COMMAND…
    local pid_file=$1 log=$2
    shift 2
    setsid "$@" </dev/null >>"$log" 2>&1 8>&- 9>&- &
    record_process "$pid_file" $!
}

# Sends SIGNAL to each process (0: it was already sent), waits up to SECONDS, then sends SIGKILL. It sends SIGNAL only
# once, because the application exits immediately on a second one.
stop_processes() { # SIGNAL SECONDS PID_FILE…
    local signal=$1 timeout=$2 pid_file pid
    shift 2
    for pid_file in "$@"; do
        if is_running "$pid_file"; then
            kill -s "$signal" "$RUNNING_PID" 2>/dev/null || true
        fi
    done
    wait_until "$timeout" stopped_or_stop_now "$@" || true
    for pid_file in "$@"; do
        if is_running "$pid_file"; then
            pid=$RUNNING_PID
            warn "${pid_file##*/} (process $pid) did not stop; killing it."
            # It is a session leader, so its pid is also its process group id.
            kill -s KILL -- "-$pid" 2>/dev/null || kill -s KILL "$pid" 2>/dev/null || true
            wait_until 10 is_stopped "$pid_file" || warn "process $pid is still running."
        fi
        rm -f "$pid_file"
    done
}

stopped_or_stop_now() { # PID_FILE…
    local pid_file
    [[ -z $STOP_NOW ]] || return 0
    for pid_file in "$@"; do
        is_stopped "$pid_file" || return 1
    done
}

# Prints the processes whose parent or session leader is PID.
processes_of() { # parent|session PID
    local stat fields index=1
    # Fields 4 and 6 of the file. The array starts at field 3, after the pid and the name.
    if [[ $1 == session ]]; then index=3; fi
    for stat in /proc/[0-9]*/stat; do
        { stat=$(<"$stat"); } 2>/dev/null || continue
        read -r -a fields <<<"${stat##*) }"
        if [[ ${fields[index]} == "$2" ]]; then echo "${stat%% *}"; fi
    done
}

# Kills the remaining processes of the session whose leader was PID.
end_session() { # PID
    local member
    for member in $(processes_of session "$1"); do
        kill -s KILL "$member" 2>/dev/null || true
    done
}

# Runs COMMAND and waits for it. COMMAND runs in the background, so that this script handles signals at once, and in its
# own session, so that all its processes can be killed. Background jobs ignore Ctrl-C by default.
run_in_session() { # PID_FILE COMMAND…
    local pid_file=$1 pid status=0
    shift
    setsid env --default-signal=INT,QUIT -- "$@" <&0 8>&- 9>&- &
    pid=$!
    record_process "$pid_file" "$pid"
    # Tests kill services: suppress bash's report about killed children.
    { wait "$pid" || status=$?; } 2>/dev/null
    # Kill what COMMAND left running.
    end_session "$pid"
    rm -f "$pid_file"
    return "$status"
}

# Kills processes that this script started but did not record, because a signal arrived in between. For the EXIT trap,
# after all recorded processes have stopped.
kill_unrecorded_jobs() {
    local pid
    for pid in $(jobs -p); do
        end_session "$pid"
        kill -s KILL "$pid" 2>/dev/null || true
    done
}

# Stops the command of run_in_session.
stop_session() { # PID_FILE SECONDS
    local pid
    if pid=$(running_pid "$1"); then
        kill -s TERM -- "-$pid" 2>/dev/null || true
        stop_processes 0 "$2" "$1"
        end_session "$pid"
    fi
}

# Waits until COMMAND succeeds for a service that was just started. If the service dies, fails at once with the end of
# its log.
wait_for_service() { # SERVICE PID_FILE LOG SECONDS COMMAND…
    local service=$1 pid_file=$2 log=$3 deadline=$((SECONDS + $4))
    shift 4
    until "$@"; do
        is_running "$pid_file" || die_with_log "$log" "$service ended during its start."
        ((SECONDS < deadline)) || die_with_log "$log" "$service is not ready after $SECONDS seconds."
        sleep 0.1
    done
}
