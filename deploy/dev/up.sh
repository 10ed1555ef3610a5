#!/usr/bin/env bash
# `make up`: everything on this machine, in the foreground, until Ctrl-C. Whatever dies is restarted, PostgreSQL and
# RabbitMQ too; see supervise.sh. An error at the first start, and a program that dies again and again, stop everything.
#
#   PORT           the api's, 3000
#   WORKERS        how many, 2
#   DATABASE_URL   a PostgreSQL to use instead of a private one
#   AMQP_URL       a RabbitMQ to use instead of a private one
#   ADMIN_TOKEN, TICKET_KEYS   made up at the first start and kept, unless given
# and the ports of stack_port in stack.sh. All other variables of the two programs are passed on.

# shellcheck source=deploy/dev/stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack.sh"
# shellcheck source=deploy/dev/supervise.sh
source "$(dirname "${BASH_SOURCE[0]}")/supervise.sh"

PORT=${PORT:-3000}
WORKERS=${WORKERS:-2}
# How long the programs may take to finish what is in hand.
readonly GRACE_SECONDS=45

main() {
    is_port "$PORT" || die "PORT must be a port from 1 to 65535, not '$PORT'."
    [[ $WORKERS =~ ^[0-9]{1,3}$ ]] || die "WORKERS must be a number from 0 to 999, not '$WORKERS'."
    local services=()
    [[ -n ${DATABASE_URL:-} ]] || services+=(postgres)
    [[ -n ${AMQP_URL:-} ]] || services+=(rabbitmq)

    stack_name "$UP"
    stack_lock || die "it runs already (process $(running_pid "$STACK_DIR/pids/script" || echo unknown))." \
        "\`make down\` stops it."
    trap 'finish $?' EXIT
    trap 'interrupted 129' HUP
    # To be asked to stop, and to stop, is a success.
    trap 'interrupted 0' INT TERM
    stack_clear_leftovers
    remember_process "$STACK_DIR/pids/script" $$
    # Before the build, which takes minutes the first time.
    ! port_is_open "$PORT" || die "port $PORT is in use." "Choose another: make up PORT=$((PORT + 1))"

    find_cargo
    ensure_installed linker "${services[@]}"
    build
    say "Starting ${services[*]:-the application}"
    stack_start "${services[@]}"
    start_application
    print_banner
    supervise_all
}

build() {
    say "Building (minutes the first time, seconds later)"
    cd "$ROOT"
    # SQLX_OFFLINE: with DATABASE_URL at hand the macros would ask that database, which may be empty yet.
    SQLX_OFFLINE=true run_in_session "$STACK_DIR/pids/build" \
        cargo build --release --locked --bins --package hamro-api --package hamro-worker
}

start_application() {
    ADMIN_TOKEN=${ADMIN_TOKEN:-$(kept_secret "$STACK_DIR/secrets/admin-token" 24)}
    TICKET_KEYS=${TICKET_KEYS:-$(kept_secret "$STACK_DIR/secrets/ticket-keys" 32)}
    # Some shells set HOST to the machine's name.
    export ADMIN_TOKEN TICKET_KEYS PORT HOST=127.0.0.1

    begin_log "$STACK_DIR/logs/api.log"
    start_api
    wait_for_service "The api" "$STACK_DIR/pids/api" "$STACK_DIR/logs/api.log" 120 api_is_ready
    local number
    for ((number = 1; number <= WORKERS; number++)); do
        begin_log "$STACK_DIR/logs/worker-$number.log"
        start_worker "$number"
    done
}

start_api() {
    start_program api 36 "$TARGET_DIR/release/hamro-api"
}

start_worker() { # NUMBER
    local colours=(33 35 32 34 31)
    start_program "worker-$1" "${colours[($1 - 1) % 5]}" "$TARGET_DIR/release/hamro-worker"
}

# shellcheck disable=SC2329 # called by wait_for_service
api_is_ready() { [[ $(http_status "$PORT" /health/ready) == 200 ]]; }

print_banner() {
    cat <<BANNER

  ${BOLD}Hamro Concert is running.${RESET}

  page          http://127.0.0.1:$PORT/
  docs          http://127.0.0.1:$PORT/docs
  admin token   $ADMIN_TOKEN
  addresses     DATABASE_URL and AMQP_URL are in ${STACK_DIR#"$ROOT/"}/env
  logs          ${STACK_DIR#"$ROOT/"}/logs/*.log
  stop          Ctrl-C here, or \`make down\` elsewhere; the data stay

BANNER
}

# All that has been started.
supervise_all() {
    local names
    mapfile -t names < <(find "$STACK_DIR/pids" -type f ! -name script -printf '%f\n' | sort)
    supervise restart was_ready "${names[@]}"
}

# shellcheck disable=SC2329 # called by supervise
restart() { # NAME
    case $1 in
        api) start_api ;;
        worker-*) start_worker "${1#worker-}" ;;
        *) stack_restart "$1" ;;
    esac
}

# Only workers have not been waited for.
# shellcheck disable=SC2329 # called by supervise
was_ready() { # NAME
    [[ $1 != worker-* ]] || grep -q "consuming from " "$STACK_DIR/logs/$1.log"
}

# shellcheck disable=SC2329 # called by a trap
interrupted() { # STATUS
    # The next signal hurries things up, see stop_processes.
    trap 'HURRY=yes' HUP INT TERM
    exit "$1"
}

# shellcheck disable=SC2329 # called by a trap
finish() { # STATUS
    trap 'HURRY=yes' HUP INT TERM
    set +e
    stop_session "$STACK_DIR/pids/build" 5
    local applications
    mapfile -t applications < <(stack_applications)
    if ((${#applications[@]} > 0)); then say "Stopping"; fi
    stop_processes TERM "$GRACE_SECONDS" "${applications[@]}"
    stack_stop
    end_unremembered
    rm -f "$STACK_DIR/pids/script"
    exit "$1"
}

main "$@"
