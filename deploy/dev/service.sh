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
            STACK_THROWAWAY=$(cat "$STACK_DIR/throwaway")
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

has_no_process() { # PID
    ! kill -0 "$1" 2>/dev/null
}

signal_all() { # SIGNAL, uses service
    local pid
    pid=$(running_pid "$STACK_DIR/pids/$service") || die "$service does not run."
    # Children may come to an end by themselves at this very moment.
    # shellcheck disable=SC2046 # numbers
    kill -s "$1" "$pid" $(processes_of parent "$pid") 2>/dev/null || true
}

start_postgres() {
    local port
    port=$(stack_port postgres 0)
    postgres_start "$port"
    postgres_wait "$port"
}

start_rabbitmq() {
    local port
    # epmd has outlived a kill, and is in the way.
    rabbitmq_stop
    port=$(stack_port amqp 1)
    rabbitmq_start "$port" "$(stack_port rabbitmq-dist 2)" "$(stack_port epmd 3)"
    rabbitmq_wait "$port"
}

main "$@"
