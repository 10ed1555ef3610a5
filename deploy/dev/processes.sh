# shellcheck shell=bash
# Long-lived processes: started in a session of their own, remembered in pid files, stopped within bounds.
# Sourced after common.sh.
#
# A pid file holds "PID START BOOT". A number alone would not do: after a crash or a reboot somebody else may have it.

# Set by a second Ctrl-C: no more waiting for a graceful end.
HURRY=

# bash 5.2 cannot parse the command of a trap if the signal arrives while it expands a `$(…)`: the signal is lost, and a
# running EXIT trap is abandoned. So a function that is called in a loop returns its result in a variable.

read -r BOOT_ID </proc/sys/kernel/random/boot_id
readonly BOOT_ID

# Sets START_TIME, in clock ticks since boot; fails if there is no such process, or only a zombie is left of it.
read_start_time() { # PID
    local stat='' fields
    { read -r -d '' stat <"/proc/$1/stat"; } 2>/dev/null || [[ -n $stat ]] || return 1
    # The command's name, in brackets, may contain anything: count the fields from behind it.
    read -r -a fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] || return 1
    START_TIME=${fields[19]}
}

remember_process() { # PID_FILE PID
    # A process that has ended already is remembered too, as one that is not running.
    read_start_time "$2" || START_TIME=gone
    mkdir -p "$(dirname "$1")"
    echo "$2 $START_TIME $BOOT_ID" >"$1"
}

# Sets RUNNING_PID if the remembered process still runs.
is_running() { # PID_FILE
    local start boot
    [[ -f $1 ]] && read -r RUNNING_PID start boot <"$1" || return 1
    [[ $boot == "$BOOT_ID" ]] && read_start_time "$RUNNING_PID" && [[ $START_TIME == "$start" ]]
}

# Prints the pid if the remembered process still runs.
running_pid() { # PID_FILE
    is_running "$1" && echo "$RUNNING_PID"
}

is_stopped() { ! is_running "$1"; }

# Not even a zombie, which a killed process is until its parent has taken note.
has_no_process() { # PID
    ! kill -0 "$1" 2>/dev/null
}

# Begins a new log and keeps the previous one. Not for a restart, whose log must still show why the process died.
begin_log() { # LOG
    mkdir -p "$(dirname "$1")"
    if [[ -s $1 ]]; then mv "$1" "$1.previous"; fi
    : >"$1"
}

# Runs COMMAND in the background and remembers it. A session of its own keeps the terminal's Ctrl-C away from it: this
# script decides who stops first. File descriptors 8 and 9 are the locks of stack.sh, which die with the script.
start_detached() { # PID_FILE LOG COMMAND…
    local pid_file=$1 log=$2
    shift 2
    setsid "$@" </dev/null >>"$log" 2>&1 8>&- 9>&- &
    remember_process "$pid_file" $!
}

# One SIGNAL to each (0: it has been sent already), then up to SECONDS of patience, then SIGKILL. Exactly one, since a
# second would ask the application to go at once.
stop_processes() { # SIGNAL SECONDS PID_FILE…
    local signal=$1 patience=$2 pid_file pid
    shift 2
    for pid_file in "$@"; do
        if is_running "$pid_file"; then
            kill -s "$signal" "$RUNNING_PID" 2>/dev/null || true
        fi
    done
    wait_until "$patience" stopped_or_in_a_hurry "$@" || true
    for pid_file in "$@"; do
        if is_running "$pid_file"; then
            pid=$RUNNING_PID
            warn "${pid_file##*/} (process $pid) has not stopped: killing it."
            # It leads its session, so its number is that of its process group too.
            kill -s KILL -- "-$pid" 2>/dev/null || kill -s KILL "$pid" 2>/dev/null || true
            wait_until 10 is_stopped "$pid_file" || warn "process $pid is still there."
        fi
        rm -f "$pid_file"
    done
}

stopped_or_in_a_hurry() { # PID_FILE…
    local pid_file
    [[ -z $HURRY ]] || return 0
    for pid_file in "$@"; do
        is_stopped "$pid_file" || return 1
    done
}

# The processes whose parent, or whose session's leader, is PID.
processes_of() { # parent|session PID
    local stat fields index=1
    # Fields 4 and 6 of the file, counted without the process id and the name.
    if [[ $1 == session ]]; then index=3; fi
    for stat in /proc/[0-9]*/stat; do
        { stat=$(<"$stat"); } 2>/dev/null || continue
        read -r -a fields <<<"${stat##*) }"
        if [[ ${fields[index]} == "$2" ]]; then echo "${stat%% *}"; fi
    done
}

# Ends with SIGKILL what is left of the session that PID has led.
end_session() { # PID
    local stray
    for stray in $(processes_of session "$1"); do
        kill -s KILL "$stray" 2>/dev/null || true
    done
}

# Runs COMMAND and waits for it, in the background, so that a signal to this script is acted upon at once, and in a
# session of its own, so that all of it can be ended. Background jobs ignore Ctrl-C unless told otherwise.
run_in_session() { # PID_FILE COMMAND…
    local pid_file=$1 pid status=0
    shift
    setsid env --default-signal=INT,QUIT -- "$@" <&0 8>&- 9>&- &
    pid=$!
    remember_process "$pid_file" "$pid"
    # Tests kill services; bash need not report that.
    { wait "$pid" || status=$?; } 2>/dev/null
    # Whatever it has started and not ended.
    end_session "$pid"
    rm -f "$pid_file"
    return "$status"
}

# Ends what this script has started and not remembered: a signal can arrive between the two. For the EXIT trap, after
# everything that is remembered has stopped.
end_unremembered() {
    local pid
    for pid in $(jobs -p); do
        end_session "$pid"
        kill -s KILL "$pid" 2>/dev/null || true
    done
}

# Ends what run_in_session runs.
stop_session() { # PID_FILE SECONDS
    local pid
    if pid=$(running_pid "$1"); then
        kill -s TERM -- "-$pid" 2>/dev/null || true
        stop_processes 0 "$2" "$1"
        end_session "$pid"
    fi
}

# Waits for a condition of a service that has just been started; fails at once, with its last words, if it dies.
wait_for_service() { # SERVICE PID_FILE LOG SECONDS COMMAND…
    local service=$1 pid_file=$2 log=$3 deadline=$((SECONDS + $4))
    shift 4
    until "$@"; do
        is_running "$pid_file" || die_with_log "$log" "$service has ended instead of starting."
        ((SECONDS < deadline)) || die_with_log "$log" "$service is not ready after $SECONDS seconds."
        sleep 0.1
    done
}
