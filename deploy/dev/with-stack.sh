#!/usr/bin/env bash
# Runs a command with a throwaway stack: `with-stack.sh [OPTION…] NAME -- COMMAND…`
#
# Starts a new private PostgreSQL and RabbitMQ in .dev/NAME, and runs the command with
#   DATABASE_URL         the application's role and its empty database; it may create databases for tests
#   HAMRO_SUPERUSER_URL  a superuser of the same server, for tests that disturb it
#   AMQP_URL             a user with all permissions on an empty virtual host, and no tags
#   HAMRO_STACK_DIR      .dev/NAME: pids/postgres and pids/rabbitmq start with the process id; rabbitmqctl controls this
#                        broker. Of a cluster: pids/rabbitmq-1, … and rabbitmqctl-1, …
# Always stops everything when the command or this script ends. Exits with the command's status.
# Can run at the same time as `make up` and stacks with other names.
#
#   --durable         give PostgreSQL the durability and memory of `make up`, for measurements
#   --only SERVICE    start only postgres or only rabbitmq
#   --standby         start a standby of PostgreSQL, and set HAMRO_STANDBY_URL; pids/standby starts with its process id
#   --brokers N       start RabbitMQ as a cluster of this many nodes, from 2 to 5; AMQP_URL names all of them
#   --networks        give each node of the cluster a network of its own, which service.sh can cut off; see
#                     node-networks.sh
#   --disk MB         keep the data of each service on a disk of this size; see small-disk.sh

# shellcheck source=deploy/dev/stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack.sh"

usage() { die "$1" "usage: with-stack.sh [--durable] [--only postgres|rabbitmq] [--brokers N [--networks]] [--standby] [--disk MB] NAME -- COMMAND…"; }

main() {
    local arguments=("$@") services=(postgres rabbitmq) name=
    STACK_THROWAWAY=yes
    while (($# > 0)); do
        case $1 in
            --durable) STACK_THROWAWAY= ;;
            --standby) STACK_STANDBY=yes ;;
            --only)
                [[ ${2:-} == postgres || ${2:-} == rabbitmq ]] || usage "--only must be postgres or rabbitmq."
                services=("$2")
                shift
                ;;
            --brokers)
                [[ ${2:-} =~ ^[2-5]$ ]] || usage "--brokers must be a number from 2 to 5."
                STACK_BROKERS=$2
                shift
                ;;
            --networks) STACK_NETWORKS=yes ;;
            --disk)
                [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage "--disk must be a number of MB."
                STACK_DISK_MB=$2
                shift
                ;;
            --) break ;;
            -*) usage "unknown option: $1." ;;
            *)
                [[ -z $name ]] || usage "more than one name: $name and $1."
                name=$1
                ;;
        esac
        shift
    done
    [[ -n $name && $# -gt 1 ]] || usage "a name and a command are required."
    shift
    [[ $name != "$UP" ]] || usage "the name '$UP' is reserved for \`make up\`."

    [[ -z $STACK_NETWORKS || -n $STACK_BROKERS ]] || usage "--networks requires --brokers."
    [[ -z $STACK_NETWORKS ]] || require_networks
    [[ -z $STACK_DISK_MB ]] || use_small_disks "$ROOT/deploy/dev/with-stack.sh" "${arguments[@]}"
    ensure_installed "${services[@]}"
    stack_name "$name"
    stack_lock || die "the stack '$name' is in use (process $(running_pid "$STACK_DIR/pids/script" || echo unknown))."
    trap 'finish $?' EXIT
    trap 'interrupted 129' HUP
    trap 'interrupted 130' INT
    trap 'interrupted 143' TERM
    stack_clear_leftovers
    stack_wipe
    record_process "$STACK_DIR/pids/script" $$
    stack_start "${services[@]}"
    run_in_session "$STACK_DIR/pids/command" "$@"
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
    stop_session "$STACK_DIR/pids/command" 20
    stack_stop
    kill_unrecorded_jobs
    # Keep the logs to diagnose failed tests. Delete the rest.
    postgres_wipe
    find "$STACK_DIR" -mindepth 1 -maxdepth 1 ! -name lock ! -name logs -exec rm -rf {} +
    exit "$1"
}

main "$@"
