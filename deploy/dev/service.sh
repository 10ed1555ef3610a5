#!/usr/bin/env bash
# For fault tests inside with-stack.sh: `service.sh start|stop|kill|freeze|thaw postgres|rabbitmq`, with HAMRO_STACK_DIR as
# found. kill is SIGKILL, freeze SIGSTOP and thaw SIGCONT. start waits until the service is ready, at the same address and
# with the same data.

# shellcheck source=deploy/dev/stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack.sh"

main() {
    local action=${1:-} service=${2:-} pid
    [[ $service == postgres || $service == rabbitmq ]] || die "usage: service.sh start|stop|kill|freeze|thaw postgres|rabbitmq"
    [[ -d ${HAMRO_STACK_DIR:-} ]] || die "HAMRO_STACK_DIR must be the directory of a running stack."
    stack_name "$(basename "$HAMRO_STACK_DIR")"
    case $action in
        start)
            ! is_running "$STACK_DIR/pids/$service" || die "$service runs already."
            start_"$service"
            ;;
        stop) "${service}_stop" ;;
        # With its children at the same moment, as a power cut would: PostgreSQL's hold on to the memory they share and would
        # be in the way of the next start.
        kill)
            pid=$(running_pid "$STACK_DIR/pids/$service") || die "$service does not run."
            signal_all KILL
            wait_until 10 is_stopped "$STACK_DIR/pids/$service" || die "process $pid is still there."
            # Until its parent has taken note, PostgreSQL takes what is left of it for a server that runs.
            wait_until 10 has_no_process "$pid" || warn "nobody takes note of the end of process $pid."
            ;;
        freeze) signal_all STOP ;;
        thaw) signal_all CONT ;;
        *) die "service.sh does not know '$action'." ;;
    esac
}

signal_all() { # SIGNAL, uses service
    local pid
    pid=$(running_pid "$STACK_DIR/pids/$service") || die "$service does not run."
    # Children may come to an end by themselves at this very moment.
    # shellcheck disable=SC2046 # numbers
    kill -s "$1" "$pid" $(processes_of parent "$pid") 2>/dev/null || true
}

start_postgres() {
    stack_restart postgres
    postgres_wait "$(cat "$STACK_DIR/ports/postgres")"
}

start_rabbitmq() {
    # epmd outlives a kill, and ends with a stop.
    if ! is_running "$STACK_DIR/pids/epmd"; then
        stack_restart epmd
        epmd_wait "$(cat "$STACK_DIR/ports/epmd")"
    fi
    stack_restart rabbitmq
    rabbitmq_wait "$(cat "$STACK_DIR/ports/amqp")"
}

main "$@"
