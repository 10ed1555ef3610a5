# shellcheck shell=bash
# A private RabbitMQ and epmd with their own data, node name, cookie and ports, only on 127.0.0.1. Sourced by stack.sh.
#
# They read nothing from /etc/rabbitmq and inherit nothing from the environment, so the configuration of a system broker
# has no effect on them.

readonly RABBITMQ_USER=hamro

rabbitmq_data() {
    echo "$STACK_DIR/rabbitmq/data"
}

# Starts epmd and the broker. Does not wait for the broker; see rabbitmq_wait.
rabbitmq_start() { # AMQP_PORT DIST_PORT EPMD_PORT
    local home=$STACK_DIR/rabbitmq server
    server=$(rabbitmq_server)
    RABBITMQ_PASSWORD=$(kept_secret "$STACK_DIR/secrets/rabbitmq-password" 16)
    mkdir -p "$home" "$STACK_DIR/logs"
    chmod 0700 "$home"
    rabbitmq_cookie "$home/.erlang.cookie"
    [[ -d $(rabbitmq_data) ]] || touch "$home/user-is-no-administrator"
    rabbitmq_settings "$1" >"$home/rabbitmq.conf"
    rabbitmq_environment "$2" "$3" >"$home/environment"
    : >"$home/rabbitmq-env.conf" # read instead of the one in /etc
    echo '[].' >"$home/enabled_plugins"
    rabbitmq_control_script "$(dirname "$server")"

    begin_log "$STACK_DIR/logs/epmd.log"
    epmd_run "$3"
    epmd_wait "$3"
    begin_log "$STACK_DIR/logs/rabbitmq.log"
    rabbitmq_run
}

# Restarts the broker with the settings of its last start. Requires a running epmd.
rabbitmq_run() {
    local environment
    mapfile -t environment <"$STACK_DIR/rabbitmq/environment"
    # With RUNNING_UNDER_SYSTEMD the script replaces itself with the broker, which leaves one process to stop.
    start_detached "$STACK_DIR/pids/rabbitmq" "$STACK_DIR/logs/rabbitmq.log" \
        env -i "${environment[@]}" RUNNING_UNDER_SYSTEMD=true "$(rabbitmq_server)"
}

epmd_run() { # PORT
    start_detached "$STACK_DIR/pids/epmd" "$STACK_DIR/logs/epmd.log" \
        env -i PATH="$PATH" epmd -port "$1" -address 127.0.0.1
}

epmd_wait() { # PORT
    wait_for_service epmd "$STACK_DIR/pids/epmd" "$STACK_DIR/logs/epmd.log" 20 port_is_open "$1"
}

# The cookie allows running code in the broker, so it must be unpredictable on a machine with several users.
rabbitmq_cookie() { # FILE
    if [[ ! -s $1 ]]; then
        rm -f "$1"
        (umask 077 && random_hex 20 >"$1")
        chmod 0400 "$1"
    fi
}

rabbitmq_settings() { # AMQP_PORT
    local memory wal disk_limit=512
    memory=$(memory_mb)
    if [[ -n $STACK_DISK_MB ]]; then disk_limit=$((STACK_DISK_MB / 4)); fi
    # The quorum queues' WAL takes up to this size in memory and on disk. The default, 512 MiB, is for a dedicated
    # machine.
    if [[ -n $STACK_THROWAWAY ]] || ((memory < 8192)); then wal=64; else wal=512; fi
    cat <<SETTINGS
listeners.tcp.1 = 127.0.0.1:$1
# The first start creates this user, with all permissions on its virtual host. It is no administrator.
default_user = $RABBITMQ_USER
default_pass = $RABBITMQ_PASSWORD
default_user_tags.administrator = false
# Above this the broker blocks publishers. PostgreSQL, the application and the developer share the machine.
vm_memory_high_watermark.absolute = $(at_least 256 $((memory / 4)))MiB
disk_free_limit.absolute = ${disk_limit}MiB
raft.wal_max_size_bytes = $((wal * 1024 * 1024))
# Log to stdout, which is redirected to logs/rabbitmq.log.
log.console = true
log.console.level = info
log.console.use_colors = off
log.file = false
SETTINGS
}

# Prints one NAME=value per line. The data belongs to the node name, so the name must not change.
rabbitmq_environment() { # DIST_PORT EPMD_PORT
    local home=$STACK_DIR/rabbitmq loopback='-kernel inet_dist_use_interface {127,0,0,1}'
    cat <<ENVIRONMENT
PATH=$PATH
LANG=C.UTF-8
HOME=$home
ERL_EPMD_PORT=$2
RABBITMQ_NODENAME=hamro-$STACK_NAME@localhost
RABBITMQ_CONF_ENV_FILE=$home/rabbitmq-env.conf
RABBITMQ_CONFIG_FILE=$home/rabbitmq.conf
RABBITMQ_ADVANCED_CONFIG_FILE=$home/advanced.config
RABBITMQ_ENABLED_PLUGINS_FILE=$home/enabled_plugins
RABBITMQ_MNESIA_BASE=$(rabbitmq_data)
RABBITMQ_MNESIA_DIR=$(rabbitmq_data)/node
RABBITMQ_LOG_BASE=$STACK_DIR/logs
RABBITMQ_PID_FILE=$home/pid
RABBITMQ_DIST_PORT=$1
RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=$loopback -start_epmd false
RABBITMQ_CTL_ERL_ARGS=$loopback
ENVIRONMENT
}

# Writes `.dev/NAME/rabbitmqctl`, which controls this broker only.
rabbitmq_control_script() { # DIRECTORY
    local line
    {
        echo '#!/usr/bin/env bash'
        printf 'exec env -i'
        while IFS= read -r line; do printf ' %q' "$line"; done <"$STACK_DIR/rabbitmq/environment"
        # shellcheck disable=SC2016 # expanded by the generated script
        printf ' %q "$@"\n' "$1/rabbitmqctl"
    } >"$STACK_DIR/rabbitmqctl"
    chmod 0755 "$STACK_DIR/rabbitmqctl"
}

rabbitmq_url() { # AMQP_PORT
    echo "amqp://$RABBITMQ_USER:$RABBITMQ_PASSWORD@127.0.0.1:$1/%2f"
}

# The broker opens its listener last.
rabbitmq_wait() { # AMQP_PORT
    wait_for_service RabbitMQ "$STACK_DIR/pids/rabbitmq" "$STACK_DIR/logs/rabbitmq.log" 120 port_is_open "$1"
    rabbitmq_demote_user
}

# Earlier versions of this script created the user as an administrator.
rabbitmq_demote_user() {
    local demoted=$STACK_DIR/rabbitmq/user-is-no-administrator
    if [[ ! -e $demoted ]]; then
        "$STACK_DIR/rabbitmqctl" --quiet set_user_tags "$RABBITMQ_USER"
        touch "$demoted"
    fi
}

rabbitmq_stop() {
    stop_processes TERM 60 "$STACK_DIR/pids/rabbitmq"
    stop_processes TERM 10 "$STACK_DIR/pids/epmd"
}
