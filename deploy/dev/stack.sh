# shellcheck shell=bash
# A stack is a private PostgreSQL and a private RabbitMQ with a name and a directory, .dev/NAME. Sourced.
#
#   .dev/NAME/lock        held by the script that runs the stack, as long as it lives, kill -9 or not
#   .dev/NAME/pids/       what it has started
#   .dev/NAME/logs/       what that has to say
#   .dev/NAME/secrets/    passwords and keys, made up at the first start
#   .dev/NAME/ports/      one file a port, so that addresses stay the same from start to start
#   .dev/NAME/env         the addresses, for a shell to read
#   .dev/NAME/rabbitmqctl rabbitmqctl for this broker
#   .dev/NAME/postgres/   data, unless user postgres cannot reach them there
#   .dev/NAME/rabbitmq/   data

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/processes.sh
source "$(dirname "${BASH_SOURCE[0]}")/processes.sh"
# shellcheck source=deploy/dev/postgres.sh
source "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"
# shellcheck source=deploy/dev/rabbitmq.sh
source "$(dirname "${BASH_SOURCE[0]}")/rabbitmq.sh"

# The stack of `make up`.
readonly UP=up

# Not empty: data that live as long as the run, so speed goes before durability.
STACK_THROWAWAY=

stack_name() { # NAME
    [[ $1 =~ ^[a-z][a-z0-9-]{0,30}$ && $1 != tools ]] ||
        die "'$1' is no name for a stack: small letters, digits and hyphens, please, and not 'tools'."
    STACK_NAME=$1
    STACK_DIR=$DEV_DIR/$1
    readonly STACK_NAME STACK_DIR
}

# Fails if somebody else runs this stack.
stack_lock() {
    mkdir -p "$STACK_DIR" 2>/dev/null && [[ -w $STACK_DIR ]] ||
        die "$STACK_DIR cannot be written by $(id -un)." "Was it made by another user? Remove $DEV_DIR, or become that user."
    # Whatever the umask says, user postgres must get through to its data. Secrets have a directory of their own.
    chmod 0755 "$DEV_DIR" "$STACK_DIR"
    exec 8>>"$STACK_DIR/lock"
    flock --nonblock 8
}

# Pid files of all that is neither PostgreSQL nor RabbitMQ: api, worker-1, …, or the command of with-stack.sh.
stack_applications() {
    find "$STACK_DIR/pids" -type f ! -name postgres ! -name rabbitmq ! -name epmd ! -name script 2>/dev/null || true
}

# What a run that was killed has left behind.
stack_clear_leftovers() {
    local applications
    mapfile -t applications < <(stack_applications)
    stop_processes TERM 30 "${applications[@]}"
    stack_stop
    rm -f "$STACK_DIR/pids/script"
}

stack_wipe() {
    postgres_wipe
    # All but the lock, which somebody may be waiting for.
    find "$STACK_DIR" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
}

# Two stacks that choose at the same moment must not choose the same ports: only one starts at a time in a clone, and
# different clones look in different places.
stack_start() { # SERVICE… (postgres, rabbitmq)
    local services=" $* " postgres_port amqp_port dist_port epmd_port
    mkdir -p "$STACK_DIR/logs"
    exec 9>>"$DEV_DIR/ports.lock"
    flock 9
    if [[ $services == *" postgres "* ]]; then
        postgres_port=$(stack_port postgres 0)
        postgres_start "$postgres_port"
    fi
    if [[ $services == *" rabbitmq "* ]]; then
        amqp_port=$(stack_port amqp 1)
        dist_port=$(stack_port rabbitmq-dist 2)
        epmd_port=$(stack_port epmd 3)
        rabbitmq_start "$amqp_port" "$dist_port" "$epmd_port"
    fi
    # Both start at the same time; now wait for both.
    if [[ $services == *" postgres "* ]]; then
        postgres_wait "$postgres_port"
        postgres_create_database "$postgres_port"
        DATABASE_URL=$(postgres_url "$postgres_port")
    fi
    if [[ $services == *" rabbitmq "* ]]; then
        rabbitmq_wait "$amqp_port"
        AMQP_URL=$(rabbitmq_url "$amqp_port")
    fi
    exec 9>&-
    HAMRO_STACK_DIR=$STACK_DIR
    export DATABASE_URL AMQP_URL HAMRO_STACK_DIR
    (umask 077 && printf 'DATABASE_URL=%q\nAMQP_URL=%q\n' "${DATABASE_URL:-}" "${AMQP_URL:-}" >"$STACK_DIR/env")
}

# Starts a service of a running stack again: same address, same settings, same data. Does not wait until it is ready.
stack_restart() { # postgres|rabbitmq|epmd
    if [[ $1 == epmd ]]; then
        epmd_run "$(cat "$STACK_DIR/ports/epmd")"
    else
        "${1}_run"
    fi
}

# The port of last time if it is free, else the next free one. For `make up` HAMRO_POSTGRES_PORT, HAMRO_AMQP_PORT,
# HAMRO_RABBITMQ_DIST_PORT and HAMRO_EPMD_PORT decide, and are never replaced by another.
stack_port() { # WHAT OFFSET
    local file=$STACK_DIR/ports/$1 port wish=HAMRO_${1^^}_PORT
    wish=${wish//-/_}
    if [[ $STACK_NAME == "$UP" && -n ${!wish:-} ]]; then
        port=${!wish}
        is_port "$port" || die "$wish must be a port from 1 to 65535, not '$port'."
        ! port_is_open "$port" || die "port $port ($wish) is in use."
    else
        port=$(cat "$file" 2>/dev/null || stack_first_port)
        is_port "$port" || port=$(stack_first_port)
        [[ -e $file ]] || port=$((port + $2))
        port=$(next_free_port "$port")
    fi
    mkdir -p "$STACK_DIR/ports"
    echo "$port" >"$file"
    echo "$port"
}

# Away from the usual ports (5432, 5672, 4369, 25672) and below those that the kernel hands out to clients (32768…).
# Ten for each name, chosen by clone and name.
stack_first_port() {
    echo $((20000 + 10 * (0x$(printf '%s' "$CLONE_ID/$STACK_NAME" | sha256sum | cut -c1-6) % 1200)))
}

stack_stop() {
    rabbitmq_stop
    postgres_stop
}
