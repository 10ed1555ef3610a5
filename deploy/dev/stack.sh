# shellcheck shell=bash
# A stack is a private PostgreSQL and RabbitMQ with a name and a directory, .dev/NAME. Sourced.
#
#   .dev/NAME/lock        locked by the script that runs the stack; released when the script ends, even by kill -9
#   .dev/NAME/pids/       pid files of the started processes
#   .dev/NAME/logs/       their logs
#   .dev/NAME/secrets/    passwords and keys, generated at the first start
#   .dev/NAME/ports/      one file per port, so that addresses stay the same across starts
#   .dev/NAME/env         the addresses as shell variables
#   .dev/NAME/rabbitmqctl rabbitmqctl for this broker; rabbitmqctl-1, … for the nodes of a cluster
#   .dev/NAME/postgres/   data, unless user postgres cannot access this directory
#   .dev/NAME/rabbitmq/   data; rabbitmq-1/, … of a cluster
#   .dev/NAME/prometheus/ configuration and data, with make up PROMETHEUS=1

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/processes.sh
source "$(dirname "${BASH_SOURCE[0]}")/processes.sh"
# shellcheck source=deploy/dev/small-disk.sh
source "$(dirname "${BASH_SOURCE[0]}")/small-disk.sh"
# shellcheck source=deploy/dev/node-networks.sh
source "$(dirname "${BASH_SOURCE[0]}")/node-networks.sh"
# shellcheck source=deploy/dev/postgres.sh
source "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"
# shellcheck source=deploy/dev/rabbitmq.sh
source "$(dirname "${BASH_SOURCE[0]}")/rabbitmq.sh"

# The stack of `make up`.
readonly UP=up

# If not empty, the data is only needed during the run, and speed takes precedence over durability.
STACK_THROWAWAY=

# If not empty, a standby streams from PostgreSQL.
STACK_STANDBY=

stack_name() { # NAME
    # The last are directories of other scripts in .dev, which stack_wipe would delete.
    [[ $1 =~ ^[a-z][a-z0-9-]{0,30}$ && ! $1 =~ ^(browser-failures|browser-served|deno|images|next|npm|page-npm|tools)$ ]] ||
        die "invalid stack name '$1': use lower-case letters, digits and hyphens, and no name of another directory in .dev."
    STACK_NAME=$1
    STACK_DIR=$DEV_DIR/$1
    readonly STACK_NAME STACK_DIR
}

# Fails if another script runs this stack.
stack_lock() {
    mkdir -p "$STACK_DIR" 2>/dev/null && [[ -w $STACK_DIR ]] ||
        die "user $(id -un) cannot write to $STACK_DIR." "If another user created it, remove $DEV_DIR or run as that user."
    # User postgres needs access to its data, whatever the umask. Secrets are in a separate directory.
    chmod 0755 "$DEV_DIR" "$STACK_DIR"
    exec 8>>"$STACK_DIR/lock"
    flock --nonblock 8
}

# Prints the pid files of everything except PostgreSQL and RabbitMQ: api, worker-1, …, or the command of with-stack.sh.
stack_applications() {
    find "$STACK_DIR/pids" -type f ! -name postgres ! -name standby ! -name rabbitmq ! -name 'rabbitmq-[0-9]' \
        ! -name epmd ! -name 'epmd-[0-9]' ! -name script 2>/dev/null || true
}

# Stops what a killed run left running.
stack_clear_leftovers() {
    local applications
    mapfile -t applications < <(stack_applications)
    stop_processes TERM 30 "${applications[@]}"
    stack_stop
    rm -f "$STACK_DIR/pids/script"
}

stack_wipe() {
    postgres_wipe
    # Keep the lock file: another script may be waiting for it.
    find "$STACK_DIR" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
}

# Stacks must not choose the same ports. Within a clone, a lock lets only one stack start at a time; different clones
# use different port ranges.
stack_start() { # SERVICE… (postgres, rabbitmq)
    local services=" $* " postgres_port
    mkdir -p "$STACK_DIR/logs"
    exec 9>>"$DEV_DIR/ports.lock"
    flock 9
    if [[ $services == *" postgres "* ]]; then
        postgres_port=$(stack_port postgres 0)
        mount_small_disk "$(postgres_home)"
        postgres_start "$postgres_port"
    fi
    if [[ $services == *" rabbitmq "* ]]; then
        rabbitmq_start
    fi
    # Both are starting in parallel; wait for both.
    if [[ $services == *" postgres "* ]]; then
        postgres_wait "$postgres_port"
        postgres_create_role "$postgres_port"
        DATABASE_URL=$(postgres_url "$postgres_port")
        [[ -z $STACK_STANDBY ]] || stack_start_standby "$postgres_port"
        # Only for tests. `make up` must not pass it to the programs.
        if [[ $STACK_NAME != "$UP" ]]; then
            HAMRO_SUPERUSER_URL=$(postgres_superuser_url "$postgres_port")
            export HAMRO_SUPERUSER_URL
        fi
    fi
    if [[ $services == *" rabbitmq "* ]]; then
        rabbitmq_wait
        AMQP_URL=$(rabbitmq_url)
    fi
    exec 9>&-
    HAMRO_STACK_DIR=$STACK_DIR
    export DATABASE_URL AMQP_URL HAMRO_STACK_DIR
    printf 'DATABASE_URL=%q\nAMQP_URL=%q\n' "${DATABASE_URL:-}" "${AMQP_URL:-}" | write_private "$STACK_DIR/env"
}

stack_start_standby() { # PRIMARY_PORT
    local port
    port=$(stack_port standby 9)
    postgres_start_standby "$port" "$1"
    POSTGRES_SERVER=standby postgres_wait "$port"
    HAMRO_STANDBY_URL=$(postgres_url "$port")
    export HAMRO_STANDBY_URL
}

# Restarts a service of a running stack with the same address, settings and data. Does not wait until it is ready.
stack_restart() { # postgres|rabbitmq|rabbitmq-N|epmd|prometheus
    case $1 in
        epmd) epmd_run ;;
        rabbitmq*) rabbitmq_run "$1" ;;
        *) "${1}_run" ;;
    esac
}

# Prints and stores the port to use: the previous one if it is free, otherwise the next free one. For `make up`,
# HAMRO_POSTGRES_PORT, HAMRO_AMQP_PORT, HAMRO_RABBITMQ_DIST_PORT, HAMRO_EPMD_PORT and HAMRO_PROMETHEUS_PORT take
# precedence; if such a port is in use, the start fails.
stack_port() { # NAME OFFSET
    local file=$STACK_DIR/ports/$1 port variable=HAMRO_${1^^}_PORT
    variable=${variable//-/_}
    if [[ $STACK_NAME == "$UP" && -n ${!variable:-} ]]; then
        port=${!variable}
        is_port "$port" || die "$variable must be a port from 1 to 65535, not '$port'."
        ! port_is_open "$port" || die "port $port ($variable) is in use."
    else
        port=$(cat "$file" 2>/dev/null || stack_first_port)
        is_port "$port" || port=$(stack_first_port)
        [[ -e $file ]] || port=$((port + $2))
        port=$(next_free_port "$port")
        # Another service of this stack may be about to open a port that is still free.
        while stack_uses_port "$port" "$1"; do port=$(next_free_port $((port + 1))); done
    fi
    mkdir -p "$STACK_DIR/ports"
    echo "$port" >"$file"
    echo "$port"
}

# Whether a service of this stack other than NAME has chosen the port.
stack_uses_port() { # PORT NAME
    find "$STACK_DIR/ports" -type f ! -name "$2" -exec grep --quiet --line-regexp "$1" {} + 2>/dev/null
}

# Avoids the default ports (5432, 5672, 4369, 25672) and stays below the kernel's ephemeral ports (32768…). Each pair of
# clone and name has ten ports.
stack_first_port() {
    echo $((20000 + 10 * (0x$(printf '%s' "$CLONE_ID/$STACK_NAME" | sha256sum | cut -c1-6) % 1200)))
}

stack_stop() {
    local node
    rabbitmq_stop
    POSTGRES_SERVER=standby postgres_stop
    postgres_stop
    remove_networks
    for node in $(rabbitmq_nodes); do unmount_small_disk "$(rabbitmq_data "$node")"; done
    unmount_small_disk "$(postgres_home)"
}
