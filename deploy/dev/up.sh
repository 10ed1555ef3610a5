#!/usr/bin/env bash
# `make up`: runs everything on this machine, in the foreground, until Ctrl-C. It restarts every process that dies,
# including PostgreSQL and RabbitMQ; see supervise.sh. It stops everything if the first start fails or a program keeps
# dying.
#
#   PORT           port of the api, default 3000
#   WORKERS        number of workers, default 2
#   DATABASE_URL   an existing PostgreSQL to use instead of a private one
#   AMQP_URL       an existing RabbitMQ to use instead of a private one
#   PROMETHEUS     1 starts a private Prometheus with the rules of deploy/prometheus; see prometheus.sh
#   ADMIN_TOKEN, TICKET_KEYS   default: generated at the first start and stored
# For the ports of the services, see stack_port in stack.sh. All other variables are passed on to the two programs.

# shellcheck source=deploy/dev/stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack.sh"
# shellcheck source=deploy/dev/supervise.sh
source "$(dirname "${BASH_SOURCE[0]}")/supervise.sh"
# shellcheck source=deploy/dev/prometheus.sh
source "$(dirname "${BASH_SOURCE[0]}")/prometheus.sh"

PORT=${PORT:-3000}
WORKERS=${WORKERS:-2}
PROMETHEUS=${PROMETHEUS:-0}
# Time for the programs to finish work in progress.
readonly GRACE_SECONDS=45

main() {
    is_port "$PORT" || die "PORT must be a port from 1 to 65535, not '$PORT'."
    [[ $WORKERS =~ ^[0-9]{1,3}$ ]] || die "WORKERS must be a number from 0 to 999, not '$WORKERS'."
    [[ $PROMETHEUS == [01] ]] || die "PROMETHEUS must be 0 or 1, not '$PROMETHEUS'."
    local services=() tools=(linker)
    ((PROMETHEUS == 0)) || tools+=(prometheus)
    [[ -n ${DATABASE_URL:-} ]] || services+=(postgres)
    [[ -n ${AMQP_URL:-} ]] || services+=(rabbitmq)

    stack_name "$UP"
    stack_lock || die "already running (process $(running_pid "$STACK_DIR/pids/script" || echo unknown))." \
        "Stop it with \`make down\`."
    trap 'finish $?' EXIT
    trap 'interrupted 129' HUP
    # A requested stop is a success.
    trap 'interrupted 0' INT TERM
    stack_clear_leftovers
    record_process "$STACK_DIR/pids/script" $$
    # Check before the build, which takes minutes the first time.
    ! port_is_open "$PORT" || die "port $PORT is in use." "Choose another port: make up PORT=$((PORT + 1))"

    find_cargo
    ensure_installed "${tools[@]}" "${services[@]}"
    build
    say "Starting ${services[*]:-the application}"
    stack_start "${services[@]}"
    start_application
    print_banner
    supervise_all
}

build() {
    say "Building (the first build takes minutes, later ones seconds)"
    cd "$ROOT"
    # With DATABASE_URL set, the sqlx macros would otherwise query that database, which may still be empty.
    SQLX_OFFLINE=true run_in_session "$STACK_DIR/pids/build" \
        "${BUILD_RELEASE[@]}" --bin hamro-api --bin hamro-worker
}

start_application() {
    ADMIN_TOKEN=${ADMIN_TOKEN:-$(kept_secret "$STACK_DIR/secrets/admin-token" 24)}
    TICKET_KEYS=${TICKET_KEYS:-$(kept_secret "$STACK_DIR/secrets/ticket-keys" 32)}
    # Set HOST explicitly: some shells set it to the machine's name. The canary is on, as with docker compose.
    export ADMIN_TOKEN TICKET_KEYS PORT HOST=127.0.0.1 DRAIN_DELAY=${DRAIN_DELAY:-0s} CANARY_EVERY=${CANARY_EVERY-1m}

    ((PROMETHEUS == 0)) || prometheus_ports "$WORKERS"
    begin_log "$STACK_DIR/logs/api.log"
    start_api
    wait_for_service "The api" "$STACK_DIR/pids/api" "$STACK_DIR/logs/api.log" 120 api_is_ready
    local number
    for ((number = 1; number <= WORKERS; number++)); do
        begin_log "$STACK_DIR/logs/worker-$number.log"
        start_worker "$number"
    done
    ((PROMETHEUS == 0)) || prometheus_start "$PORT"
}

start_api() {
    start_program api 36 "$TARGET_DIR/release/hamro-api"
}

start_worker() { # NUMBER
    local colours=(33 35 32 34 31) environment=()
    # Where it serves its metrics.
    ((PROMETHEUS == 0)) || environment=(env WORKER_HTTP_PORT="${WORKER_PORTS[$1]}")
    start_program "worker-$1" "${colours[($1 - 1) % 5]}" "${environment[@]}" "$TARGET_DIR/release/hamro-worker"
}

# shellcheck disable=SC2329 # called by wait_for_service
api_is_ready() { [[ $(http_status "$PORT" /health/ready) == 200 ]]; }

print_banner() {
    local token=$ADMIN_TOKEN
    # Output that is redirected ends up in files that others may read.
    [[ -t 1 ]] || token="in ${STACK_DIR#"$ROOT/"}/secrets/admin-token"
    cat <<BANNER

  ${BOLD}Hamro Concert is running.${RESET}

  page          http://127.0.0.1:$PORT/
  live view     http://127.0.0.1:$PORT/ops (asks for the admin token)
  docs          http://127.0.0.1:$PORT/docs${PROMETHEUS_PORT:+
  prometheus    http://127.0.0.1:$PROMETHEUS_PORT/alerts}
  admin token   $token
  addresses     DATABASE_URL and AMQP_URL are in ${STACK_DIR#"$ROOT/"}/env
  logs          ${STACK_DIR#"$ROOT/"}/logs/*.log
  stop          Ctrl-C here, or \`make down\` elsewhere; data is kept

BANNER
}

# Supervises everything that was started.
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

# The start of everything except the workers was awaited.
# shellcheck disable=SC2329 # called by supervise
was_ready() { # NAME
    [[ $1 != worker-* ]] || grep -q "consuming from " "$STACK_DIR/logs/$1.log"
}

# shellcheck disable=SC2329 # called by a trap
interrupted() { # STATUS
    # The next signal stops the wait for a graceful shutdown; see stop_processes.
    trap 'STOP_NOW=yes' HUP INT TERM
    exit "$1"
}

# shellcheck disable=SC2329 # called by a trap
finish() { # STATUS
    trap 'STOP_NOW=yes' HUP INT TERM
    set +e
    stop_session "$STACK_DIR/pids/build" 5
    local applications
    mapfile -t applications < <(stack_applications)
    if ((${#applications[@]} > 0)); then say "Stopping"; fi
    stop_processes TERM "$GRACE_SECONDS" "${applications[@]}"
    stack_stop
    kill_unrecorded_jobs
    rm -f "$STACK_DIR/pids/script"
    exit "$1"
}

main "$@"
