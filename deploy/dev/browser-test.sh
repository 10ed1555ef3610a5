#!/usr/bin/env bash
# Runs tests of the booking page in Chromium, without cargo: `browser-test.sh [NAME…]`. NAME is the name of a file in
# page/tests/browser/ without .test.ts; without any, all files run. Options of node --test may come first, such as
# --test-name-pattern='receipt'.
#
# Starts the debug programs in target/ (`cargo build --workspace --bins --features faults`) on a throwaway PostgreSQL and
# RabbitMQ. Their start takes most of the time, so a second terminal can keep them running:
#
#   browser-test.sh --serve   starts them, prints the address of the page, and keeps them until Ctrl-C. Tests that start
#                             meanwhile use them. SEED_ON_START=true adds the demo concerts.
#   browser-test.sh --mutants [TEXT…]
#                             puts one bug after another into the page, and checks that a scenario fails on it (`make
#                             page-mutants`). TEXT, a regular expression, selects some of those in
#                             page/tests/mutants/mutants.ts.
#   browser-test.sh --screenshots
#                             makes the pictures of the page in docs/images/.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"
# shellcheck source=deploy/dev/processes.sh
source "$(dirname "${BASH_SOURCE[0]}")/processes.sh"

# Where the served programs are recorded.
readonly SERVED=$DEV_DIR/browser-served
readonly PROGRAMS=${HAMRO_PROGRAMS:-$TARGET_DIR/debug}
readonly WORKERS=2

main() {
    local stack=browser
    cd "$ROOT"
    case ${1:-} in
        --on-stack)
            shift
            on_stack "$@"
            return
            ;;
    esac
    ensure_installed chromium
    ensure_tools deno node
    ensure_page_packages
    [[ ${1:-} != --screenshots ]] || export SEED_ON_START=true
    # Mutants have another address, so pictures of concerts that other tests have created would fail. Screenshots show the
    # demo concerts only.
    if [[ ${1:-} != --serve && ${1:-} != --mutants && ${1:-} != --screenshots ]] && is_running "$SERVED/pid"; then
        # shellcheck source=/dev/null
        source "$SERVED/env"
        run_tests "$@"
        return
    fi
    [[ -x $PROGRAMS/hamro-api && -x $PROGRAMS/hamro-worker ]] ||
        die "the programs are not built." "Build them with \`cargo build --workspace --bins --features faults\`."
    [[ ${1:-} != --mutants ]] || stack=page-mutants
    exec deploy/dev/with-stack.sh "$stack" -- deploy/dev/browser-test.sh --on-stack "$@"
}

# Runs within with-stack.sh.
on_stack() { # --serve | --mutants [TEXT…] | [OPTION…] [NAME…]
    trap stop_programs EXIT
    trap 'exit 130' INT TERM
    LOGS=$HAMRO_STACK_DIR/logs
    ADMIN_TOKEN=$(random_hex 24)
    TICKET_KEYS=$(random_hex 32)
    export ADMIN_TOKEN TICKET_KEYS HOST=127.0.0.1 DRAIN_DELAY=0s CLIENT_SHARE=100 NO_COLOR=1
    export PORT=${PORT:-0} SEED_ON_START=${SEED_ON_START:-false} METRICS_ADDR=127.0.0.1:0
    start_programs
    HAMRO_ADMIN_TOKEN=$ADMIN_TOKEN
    export HAMRO_API_URL HAMRO_ADMIN_TOKEN HAMRO_WORKER_PIDS
    case ${1:-} in
        --serve) serve ;;
        --mutants) run_mutants "${@:2}" ;;
        --screenshots) make_screenshots ;;
        *) run_tests "$@" ;;
    esac
}

start_programs() {
    local number pids=()
    start api hamro-api
    wait_until 60 has_logged api "listening on " || die_with_log "$LOGS/api.log" "the api did not start."
    HAMRO_API_URL=$(sed -n 's/.*listening on \(http[^ ]*\).*/\1/p' "$LOGS/api.log" | head -n 1)
    wait_until 60 is_ready || die_with_log "$LOGS/api.log" "the api is not ready."
    for ((number = 1; number <= WORKERS; number++)); do
        start "worker-$number" hamro-worker
        pids+=($!)
        wait_until 60 has_logged "worker-$number" "consuming from " ||
            die_with_log "$LOGS/worker-$number.log" "a worker did not start."
    done
    HAMRO_WORKER_PIDS=$(IFS=, && echo "${pids[*]}")
}

PROCESSES=()

start() { # NAME PROGRAM
    "$PROGRAMS/$2" >"$LOGS/$1.log" 2>&1 &
    PROCESSES+=($!)
}

# shellcheck disable=SC2329 # called by wait_until
has_logged() { grep -qs "$2" "$LOGS/$1.log"; }

# shellcheck disable=SC2329 # called by wait_until
is_ready() { [[ $(http_status "${HAMRO_API_URL##*:}" /health/ready) == 200 ]]; }

# shellcheck disable=SC2329 # called by a trap
stop_programs() {
    # Another process may serve.
    [[ -z ${SERVES:-} ]] || rm -rf "$SERVED"
    # A test that was killed may have left the workers frozen.
    ((${#PROCESSES[@]} == 0)) || kill -s TERM "${PROCESSES[@]}" 2>/dev/null || true
    ((${#PROCESSES[@]} == 0)) || kill -s CONT "${PROCESSES[@]}" 2>/dev/null || true
    wait
}

serve() {
    local name
    SERVES=yes
    mkdir -p "$SERVED"
    for name in DATABASE_URL HAMRO_API_URL HAMRO_ADMIN_TOKEN HAMRO_WORKER_PIDS; do
        printf 'export %s=%q\n' "$name" "${!name}"
    done | write_private "$SERVED/env"
    record_process "$SERVED/pid" $$
    say "The page is at $HAMRO_API_URL/ until Ctrl-C. The admin token is in ${SERVED#"$ROOT/"}/env."
    sleep infinity &
    PROCESSES+=($!)
    wait $!
}

run_tests() { # [OPTION…] [NAME…]
    local options=() files=() name
    for name in "$@"; do
        case $name in
            -*) options+=("$name") ;;
            *) files+=("page/tests/browser/$name.test.ts") ;;
        esac
    done
    ((${#files[@]} > 0)) || files=(page/tests/browser/*.test.ts)
    name_browser browser-failures
    node --test --test-reporter=spec --test-concurrency=1 "${options[@]}" "${files[@]}"
}

run_mutants() { # [TEXT…]
    name_browser page-mutants-failures
    NO_COLOR=1 node page/tests/mutants/run.ts "$@"
}

make_screenshots() {
    name_browser browser-failures
    node page/tests/screenshots/main.ts
}

name_browser() { # DIRECTORY_FOR_SCREENSHOTS
    HAMRO_CHROMIUM=$(command -v chromium)
    export HAMRO_CHROMIUM HAMRO_BROWSER_FAILURES=$DEV_DIR/$1
}

main "$@"
