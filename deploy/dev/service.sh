#!/usr/bin/env bash
# For fault tests inside with-stack.sh, which sets HAMRO_STACK_DIR: `service.sh start|stop|kill|freeze|thaw|fill|empty
# postgres|standby|rabbitmq|rabbitmq-N`, where N is a node of a cluster, or `service.sh cut|join rabbitmq-N`, which switches
# the network of a node that has its own. kill is SIGKILL, freeze SIGSTOP and thaw SIGCONT. start waits until the service is
# ready; it keeps its address and data. `fill SERVICE [LEAVE_MB]` fills the disk of a service that was started with a small
# one, and empty frees it again.

# shellcheck source=deploy/dev/stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack.sh"

main() {
    local action=${1:-} service=${2:-} pid
    [[ $service =~ ^(postgres|standby|rabbitmq(-[1-5])?)$ ]] ||
        die "usage: service.sh start|stop|kill|freeze|thaw|fill|empty postgres|standby|rabbitmq|rabbitmq-N"
    [[ $service != standby ]] || POSTGRES_SERVER=standby
    [[ -d ${HAMRO_STACK_DIR:-} ]] || die "HAMRO_STACK_DIR must be the directory of a running stack."
    stack_name "$(basename "$HAMRO_STACK_DIR")"
    enter_stack_namespace "$ROOT/deploy/dev/service.sh" "$@"
    case $action in
        start)
            ! is_running "$STACK_DIR/pids/$service" || die "$service is already running."
            start_"${service%-*}"
            ;;
        stop) stop_service ;;
        # Kill the children at the same time, as a power cut would: PostgreSQL's children hold its shared memory, which
        # would prevent the next start.
        kill)
            pid=$(running_pid "$STACK_DIR/pids/$service") || die "$service is not running."
            signal_all KILL
            wait_until 10 is_stopped "$STACK_DIR/pids/$service" || die "process $pid is still running."
            # Until its parent reaps the process, PostgreSQL takes the zombie for a running server.
            wait_until 10 has_no_process "$pid" || warn "process $pid was not reaped."
            ;;
        freeze) signal_all STOP ;;
        thaw) signal_all CONT ;;
        cut) switch_network "$service" down ;;
        join) switch_network "$service" up ;;
        fill) fill_disk "$(disk_of "$service")" "${3:-0}" ;;
        empty) empty_disk "$(disk_of "$service")" ;;
        *) die "unknown action '$action'." ;;
    esac
}

disk_of() { # SERVICE
    if [[ $1 == postgres ]]; then postgres_home; else rabbitmq_data "$1"; fi
}

stop_service() { # uses service
    case $service in
        # The other nodes of a cluster need epmd.
        rabbitmq-*) stop_processes TERM 60 "$STACK_DIR/pids/$service" ;;
        rabbitmq) rabbitmq_stop ;;
        # The server that POSTGRES_SERVER names.
        *) postgres_stop ;;
    esac
}

signal_all() { # SIGNAL, uses service
    local pid
    pid=$(running_pid "$STACK_DIR/pids/$service") || die "$service is not running."
    # Children may exit in the meantime.
    # shellcheck disable=SC2046 # process ids
    kill -s "$1" "$pid" $(processes_of parent "$pid") 2>/dev/null || true
}

start_postgres() {
    stack_restart postgres
    postgres_wait "$(cat "$STACK_DIR/ports/postgres")"
}

start_rabbitmq() { # uses service
    epmd_ensure "$service"
    stack_restart "$service"
    rabbitmq_wait_for "$service"
}

start_standby() {
    postgres_run
    postgres_wait "$(cat "$STACK_DIR/ports/standby")"
}

main "$@"
