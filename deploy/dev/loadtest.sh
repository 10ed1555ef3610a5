#!/usr/bin/env bash
# `make loadtest`: puts a private installation (PostgreSQL and RabbitMQ as durable as those of `make up`, one api, two
# workers) under load and verifies that nothing was lost or sold twice. Re-executes itself in with-stack.sh.
#
# Without arguments it measures PostgreSQL and RabbitMQ alone, then runs `rush`, then `spread`; this takes about two
# minutes. With arguments it runs only `hamro-loadtest run` with them:
# `make loadtest ARGS='soak --rate 1000 --duration 20m --fail-if "settle.p99>100ms"'`.
#
#   WORKERS   number of workers, default 2
#
# Reports and journals are stored in .dev/loadtest-reports/.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/processes.sh
source "$(dirname "${BASH_SOURCE[0]}")/processes.sh"

WORKERS=${WORKERS:-2}
REPORTS=$DEV_DIR/loadtest-reports/$(date -u +%Y%m%d-%H%M%S)
readonly LOADTEST=$TARGET_DIR/release/hamro-loadtest REPORTS
PROCESSES=()
WATCHED=()
# The load generator stands for separate client machines. If permitted, it runs with real-time priority, so that it
# keeps its schedule. With only a higher nice priority, 1 % of the arrivals under load were 20 to 100 ms late instead of
# 1 ms.
PRIORITY=()
if chrt --fifo 1 true 2>/dev/null; then
    PRIORITY=(chrt --fifo 1)
elif [[ $(nice -n -10 nice 2>/dev/null) == -10 ]]; then
    PRIORITY=(nice -n -10)
fi

main() {
    [[ $WORKERS =~ ^[1-9][0-9]?$ ]] || die "WORKERS must be a number from 1 to 99, not '$WORKERS'."
    find_cargo
    cd "$ROOT"
    if [[ ${1:-} != --on-stack ]]; then
        ensure_installed linker postgres rabbitmq
        say "Building (the first build takes minutes, later ones seconds)"
        SQLX_OFFLINE=true "${BUILD_RELEASE[@]}" --bin hamro-api --bin hamro-worker --bin hamro-loadtest
        exec deploy/dev/with-stack.sh --durable loadtest -- deploy/dev/loadtest.sh --on-stack "$@"
    fi
    shift
    mkdir -p "$REPORTS"
    trap stop_application EXIT
    start_application
    watch_services
    if (($# > 0)); then
        run "$1" "$@"
    else
        run_all
    fi
}

run_all() {
    local status=0
    say "Measuring PostgreSQL and RabbitMQ alone"
    "$LOADTEST" baseline publish --duration 5s --json "$REPORTS/baseline-publish.json"
    "$LOADTEST" baseline settle --duration 5s --json "$REPORTS/baseline-settle.json"
    say "Rush: 45 000 buyers, 300 seats"
    run rush rush --rate 3000 --buyers 45000 || status=$?
    say "Spread: a different seat for each buyer"
    run spread spread --rate 6000 --duration 20s --baseline "$REPORTS/baseline-publish.json" \
        --baseline "$REPORTS/baseline-settle.json" || status=$?
    return "$status"
}

run() { # NAME ARGUMENTS…
    local name=$1
    shift
    "${PRIORITY[@]}" "$LOADTEST" run "$@" --url "$URL" --journal "$REPORTS/$name.journal" --json "$REPORTS/$name.json" \
        --html "$REPORTS/$name.html" "${WATCHED[@]}"
}

start_application() {
    ADMIN_TOKEN=$(random_hex 24)
    TICKET_KEYS=$(random_hex 32)
    export ADMIN_TOKEN TICKET_KEYS HOST=127.0.0.1 PORT=0 DRAIN_DELAY=0s CLIENT_SHARE=100
    start api "$TARGET_DIR/release/hamro-api"
    wait_until 60 has_logged api "listening on " || die_with_log "$REPORTS/api.log" "the api did not start."
    URL=$(sed -n 's/.*listening on \(http[^ ]*\).*/\1/p' "$REPORTS/api.log" | head -n 1)
    local number
    for ((number = 1; number <= WORKERS; number++)); do
        start "worker-$number" "$TARGET_DIR/release/hamro-worker"
    done
    for ((number = 1; number <= WORKERS; number++)); do
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
watch_services() {
    local service pid
    for service in postgres rabbitmq; do
        # No data is available if the service runs elsewhere.
        pid=$(running_pid "$HAMRO_STACK_DIR/pids/$service") || continue
        WATCHED+=(--cost "$service=$pid")
    done
}

# shellcheck disable=SC2329 # called by wait_until
has_logged() { grep -q "$2" "$REPORTS/$1.log"; }

# shellcheck disable=SC2329 # called by a trap
stop_application() {
    ((${#PROCESSES[@]} == 0)) || kill -s TERM "${PROCESSES[@]}" 2>/dev/null || true
    wait
}

main "$@"
