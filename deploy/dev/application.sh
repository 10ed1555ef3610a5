# shellcheck shell=bash
# Runs api instances and workers for a measurement, on the stack of with-stack.sh. Sourced by loadtest.sh and
# bench-nodes.sh after common.sh and processes.sh. REPORTS is the directory of the logs.

# The process ids to stop, and the addresses of the api instances.
PROCESSES=()
URLS=()
# Arguments of hamro-loadtest that name the processes whose CPU time it records.
WATCHED=()

# The load generator stands for separate client machines. If permitted, it runs with real-time priority, so that it
# keeps its schedule. With only a higher nice priority, 1 % of the arrivals under load were 20 to 100 ms late instead of
# 1 ms.
# shellcheck disable=SC2034 # used by the scripts that source this file
PRIORITY=()
# shellcheck disable=SC2034
if chrt --fifo 1 true 2>/dev/null; then
    PRIORITY=(chrt --fifo 1)
elif [[ $(nice -n -10 nice 2>/dev/null) == -10 ]]; then
    PRIORITY=(nice -n -10)
fi

start_apis() { # NAME…
    local name
    ADMIN_TOKEN=$(random_hex 24)
    TICKET_KEYS=$(random_hex 32)
    export ADMIN_TOKEN TICKET_KEYS HOST=127.0.0.1 PORT=0 DRAIN_DELAY=0s CLIENT_SHARE=100
    for name in "$@"; do
        start "$name" "$TARGET_DIR/release/hamro-api"
        wait_until 60 has_logged "$name" "listening on " || die_with_log "$REPORTS/$name.log" "$name did not start."
        URLS+=("$(sed -n 's/.*listening on \(http[^ ]*\).*/\1/p' "$REPORTS/$name.log" | head -n 1)")
    done
}

start_workers() { # NUMBER
    local number
    for ((number = 1; number <= $1; number++)); do
        start "worker-$number" "$TARGET_DIR/release/hamro-worker"
    done
    for ((number = 1; number <= $1; number++)); do
        wait_until 60 has_logged "worker-$number" "consuming from " ||
            die_with_log "$REPORTS/worker-$number.log" "worker-$number did not start."
    done
}

start() { # NAME PROGRAM
    NO_COLOR=1 "$2" >"$REPORTS/$1.log" 2>&1 &
    PROCESSES+=($!)
    WATCHED+=(--watch "$1=$!")
}

# Only the CPU time of the services is recorded: each PostgreSQL connection is a process, and they share memory.
watch_services() { # SERVICE…
    local service pid
    for service in "$@"; do
        # No data is available if the service runs elsewhere.
        pid=$(running_pid "$HAMRO_STACK_DIR/pids/$service") || continue
        WATCHED+=(--cost "$service=$pid")
    done
}

# shellcheck disable=SC2329 # called by wait_until
has_logged() { grep -qs "$2" "$REPORTS/$1.log"; }

# For the EXIT trap.
# shellcheck disable=SC2329 # called by a trap
stop_application() {
    ((${#PROCESSES[@]} == 0)) || kill -s TERM "${PROCESSES[@]}" 2>/dev/null || true
    wait
}
