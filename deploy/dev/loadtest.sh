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
# shellcheck source=deploy/dev/application.sh
source "$(dirname "${BASH_SOURCE[0]}")/application.sh"

WORKERS=${WORKERS:-2}
REPORTS=$DEV_DIR/loadtest-reports/$(date -u +%Y%m%d-%H%M%S)
readonly LOADTEST=$TARGET_DIR/release/hamro-loadtest REPORTS

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
    start_apis api
    start_workers "$WORKERS"
    watch_services postgres rabbitmq
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
    "${PRIORITY[@]}" "$LOADTEST" run "$@" --url "${URLS[0]}" --journal "$REPORTS/$name.journal" --json "$REPORTS/$name.json" \
        --html "$REPORTS/$name.html" "${WATCHED[@]}"
}

main "$@"
