#!/usr/bin/env bash
# Runs a command beside a throwaway stack: `with-stack.sh [--durable] [--only SERVICE] NAME -- COMMAND…`
#
# Starts a private PostgreSQL and a private RabbitMQ in .dev/NAME, from nothing, and runs the command with
#   DATABASE_URL      a superuser and an empty database, so that tests may create databases of their own
#   AMQP_URL          a user with all rights on an empty virtual host
#   HAMRO_STACK_DIR   .dev/NAME: pids/postgres and pids/rabbitmq start with the process id, rabbitmqctl is for this broker
# Whatever happens to the command or to this script, everything is stopped; its exit status is the command's.
# Runs beside `make up` and beside stacks of other names.
#
#   --durable         PostgreSQL with the durability and the memory of `make up`, for measurements
#   --only SERVICE    postgres or rabbitmq alone

# shellcheck source=deploy/dev/stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack.sh"

usage() { die "$1" "usage: with-stack.sh [--durable] [--only postgres|rabbitmq] NAME -- COMMAND…"; }

main() {
    local services=(postgres rabbitmq) name=
    STACK_THROWAWAY=yes
    while (($# > 0)); do
        case $1 in
            --durable) STACK_THROWAWAY= ;;
            --only)
                [[ ${2:-} == postgres || ${2:-} == rabbitmq ]] || usage "--only wants postgres or rabbitmq."
                services=("$2")
                shift
                ;;
            --) break ;;
            -*) usage "with-stack.sh does not know $1." ;;
            *)
                [[ -z $name ]] || usage "two names: $name and $1."
                name=$1
                ;;
        esac
        shift
    done
    [[ -n $name && $# -gt 1 ]] || usage "a name and a command are needed."
    shift
    [[ $name != "$UP" ]] || usage "'$UP' is the stack of \`make up\`."

    ensure_installed "${services[@]}"
    stack_name "$name"
    stack_lock || die "the stack '$name' is in use (process $(running_pid "$STACK_DIR/pids/script" || echo unknown))."
    trap 'finish $?' EXIT
    trap 'interrupted 129' HUP
    trap 'interrupted 130' INT
    trap 'interrupted 143' TERM
    stack_clear_leftovers
    stack_wipe
    remember_process "$STACK_DIR/pids/script" $$
    stack_start "${services[@]}"
    run_in_session "$STACK_DIR/pids/command" "$@"
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
    stop_session "$STACK_DIR/pids/command" 20
    stack_stop
    end_unremembered
    # The logs stay: they tell why a test has failed. The rest is of no use to anybody.
    postgres_wipe
    find "$STACK_DIR" -mindepth 1 -maxdepth 1 ! -name lock ! -name logs -exec rm -rf {} +
    exit "$1"
}

main "$@"
