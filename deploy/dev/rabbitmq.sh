# shellcheck shell=bash
# A private RabbitMQ and epmd with their own data, node name, cookie and ports, only on 127.0.0.1. Sourced by stack.sh.
#
# They read nothing from /etc/rabbitmq and inherit nothing from the environment, so the configuration of a system broker
# has no effect on them.
#
# The broker is one node, `rabbitmq`, or a cluster of the nodes `rabbitmq-1`, `rabbitmq-2`, …: see rabbitmq_nodes. Each
# NODE has its own .dev/NAME/NODE/, pids/NODE, logs/NODE.log and rabbitmqctl; all share one cookie, and one epmd unless each
# has a network of its own (node-networks.sh).

readonly RABBITMQ_USER=hamro

# The number of nodes. Empty: one that is no cluster.
STACK_BROKERS=

# Prints the nodes of this stack.
rabbitmq_nodes() {
    if [[ -z $STACK_BROKERS ]]; then echo rabbitmq; else seq -f 'rabbitmq-%.0f' "$STACK_BROKERS"; fi
}

rabbitmq_data() { # [NODE]
    echo "$STACK_DIR/${1:-rabbitmq}/data"
}

# Prints what distinguishes the names that belong to a node: nothing, or -1, -2, ….
rabbitmq_suffix() { # NODE
    echo "${1#rabbitmq}"
}

# Starts epmd and all nodes. Does not wait for the nodes; see rabbitmq_wait.
rabbitmq_start() {
    local node epmd_port
    RABBITMQ_PASSWORD=$(kept_secret "$STACK_DIR/secrets/rabbitmq-password" 16)
    RABBITMQ_COOKIE=$(kept_secret "$STACK_DIR/secrets/erlang-cookie" 20)
    epmd_port=$(stack_port epmd 3)
    # shellcheck disable=SC2046 # names without spaces
    [[ -z $STACK_NETWORKS ]] || create_networks $(rabbitmq_nodes)
    begin_log "$STACK_DIR/logs/epmd.log"
    for node in $(rabbitmq_nodes); do
        rabbitmq_configure "$node" "$epmd_port"
        epmd_ensure "$node"
    done
    for node in $(rabbitmq_nodes); do
        begin_log "$STACK_DIR/logs/$node.log"
        rabbitmq_run "$node"
    done
}

# Writes the settings of a node.
rabbitmq_configure() { # NODE EPMD_PORT
    local node=$1 home=$STACK_DIR/$1 offset=0 amqp_port dist_port
    # A stack has ten ports; the nodes of a cluster get 1 and 2, 5 and 6, 8 and 9, or what is free.
    case $node in *-2) offset=4 ;; *-3) offset=7 ;; esac
    amqp_port=$(stack_port "amqp$(rabbitmq_suffix "$node")" $((offset + 1)))
    dist_port=$(stack_port "rabbitmq-dist$(rabbitmq_suffix "$node")" $((offset + 2)))
    mkdir -p "$home" "$STACK_DIR/logs"
    chmod 0700 "$home"
    rabbitmq_cookie "$home/.erlang.cookie"
    [[ -d $(rabbitmq_data "$node") ]] || touch "$home/user-is-no-administrator"
    rabbitmq_settings "$(network_address "$node"):$amqp_port" | write_private "$home/rabbitmq.conf"
    rabbitmq_environment "$node" "$dist_port" "$2" >"$home/environment"
    : >"$home/rabbitmq-env.conf" # read instead of the one in /etc
    echo '[].' >"$home/enabled_plugins"
    mount_small_disk "$(rabbitmq_data "$node")"
    rabbitmq_control_script "$node"
}

# Restarts a node with the settings of its last start. Requires a running epmd.
rabbitmq_run() { # [NODE]
    local node=${1:-rabbitmq} environment
    enter_network "$node"
    mapfile -t environment <"$STACK_DIR/$node/environment"
    # With RUNNING_UNDER_SYSTEMD the script replaces itself with the broker, which leaves one process to stop.
    start_detached "$STACK_DIR/pids/$node" "$STACK_DIR/logs/$node.log" \
        "${IN_NETWORK[@]}" env -i "${environment[@]}" RUNNING_UNDER_SYSTEMD=true "$(rabbitmq_server)"
}

# Prints the name of the epmd that a node uses.
epmd_name() { # NODE
    if has_networks; then echo "epmd$(rabbitmq_suffix "$1")"; else echo epmd; fi
}

epmd_run() { # [NODE]
    local node=${1:-rabbitmq}
    enter_network "$node"
    start_detached "$STACK_DIR/pids/$(epmd_name "$node")" "$STACK_DIR/logs/epmd.log" \
        "${IN_NETWORK[@]}" env -i PATH="$PATH" epmd -port "$(cat "$STACK_DIR/ports/epmd")" -address "$(network_address "$node")"
}

# Starts the epmd of a node unless it runs. It survives a kill of the node.
epmd_ensure() { # NODE
    local pid_file
    pid_file=$STACK_DIR/pids/$(epmd_name "$1")
    ! is_running "$pid_file" || return 0
    epmd_run "$1"
    wait_for_service epmd "$pid_file" "$STACK_DIR/logs/epmd.log" 20 \
        port_is_open "$(cat "$STACK_DIR/ports/epmd")" "$(network_address "$1")"
}

# The cookie allows running code in the broker, so it must be unpredictable on a machine with several users. A node keeps
# the one that it has.
rabbitmq_cookie() { # FILE
    if [[ ! -s $1 ]]; then
        rm -f "$1"
        (umask 077 && printf '%s' "$RABBITMQ_COOKIE" >"$1")
        chmod 0400 "$1"
    fi
}

rabbitmq_settings() { # ADDRESS:PORT
    local memory wal disk_limit=512
    memory=$(memory_mb)
    if [[ -n $STACK_DISK_MB ]]; then disk_limit=$((STACK_DISK_MB / 4)); fi
    # The quorum queues' WAL takes up to this size in memory and on disk. The default, 512 MiB, is for a dedicated
    # machine.
    if [[ -n $STACK_THROWAWAY ]] || ((memory < 8192)); then wal=64; else wal=512; fi
    cat <<SETTINGS
listeners.tcp.1 = $1
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
    [[ -z $STACK_BROKERS ]] || rabbitmq_cluster_settings
}

# As in docker-compose.cluster.yml: docs/RUNBOOK.md, "Run a RabbitMQ cluster", explains them.
rabbitmq_cluster_settings() {
    local node
    cat <<SETTINGS
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.discovery_retry_interval = 500
cluster_formation.discovery_retry_limit = 4
cluster_partition_handling = pause_minority
net_ticktime = 8
SETTINGS
    for node in $(rabbitmq_nodes); do
        echo "cluster_formation.classic_config.nodes.${node#rabbitmq-} = $(rabbitmq_name "$node")"
    done
}

rabbitmq_name() { # NODE
    local host=localhost
    if has_networks; then host=$(network_address "$1"); fi
    echo "hamro-$STACK_NAME$(rabbitmq_suffix "$1")@$host"
}

# Prints one NAME=value per line. The data belongs to the node name, so the name must not change.
rabbitmq_environment() { # NODE DIST_PORT EPMD_PORT
    local home=$STACK_DIR/$1 address interface idle='' long_names=false
    address=$(network_address "$1")
    interface="-kernel inet_dist_use_interface {${address//./,}}"
    if has_networks; then long_names=true; fi
    # Schedulers that wait for work must not take the processors from the other nodes.
    [[ -z $STACK_BROKERS ]] || idle=' +sbwt none +sbwtdcpu none +sbwtdio none'
    cat <<ENVIRONMENT
PATH=$PATH
LANG=C.UTF-8
HOME=$home
ERL_EPMD_PORT=$3
RABBITMQ_NODENAME=$(rabbitmq_name "$1")
RABBITMQ_USE_LONGNAME=$long_names
RABBITMQ_CONF_ENV_FILE=$home/rabbitmq-env.conf
RABBITMQ_CONFIG_FILE=$home/rabbitmq.conf
RABBITMQ_ADVANCED_CONFIG_FILE=$home/advanced.config
RABBITMQ_ENABLED_PLUGINS_FILE=$home/enabled_plugins
RABBITMQ_MNESIA_BASE=$(rabbitmq_data "$1")
RABBITMQ_MNESIA_DIR=$(rabbitmq_data "$1")/node
RABBITMQ_LOG_BASE=$STACK_DIR/logs
RABBITMQ_PID_FILE=$home/pid
RABBITMQ_DIST_PORT=$2
RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=$interface -start_epmd false$idle
RABBITMQ_CTL_ERL_ARGS=$interface
ENVIRONMENT
}

# Writes `.dev/NAME/rabbitmqctl`, which controls this broker only, or `rabbitmqctl-1`, … for the nodes of a cluster.
rabbitmq_control_script() { # NODE
    local line file
    file=$STACK_DIR/rabbitmqctl$(rabbitmq_suffix "$1")
    enter_network "$1"
    {
        echo '#!/usr/bin/env bash'
        printf 'exec'
        printf ' %q' "${IN_NETWORK[@]}" env -i
        while IFS= read -r line; do printf ' %q' "$line"; done <"$STACK_DIR/$1/environment"
        # shellcheck disable=SC2016 # expanded by the generated script
        printf ' %q "$@"\n' "$(dirname "$(rabbitmq_server)")/rabbitmqctl"
    } >"$file"
    chmod 0755 "$file"
}

rabbitmq_amqp_port() { # NODE
    cat "$STACK_DIR/ports/amqp$(rabbitmq_suffix "$1")"
}

rabbitmq_url() {
    local node addresses=
    for node in $(rabbitmq_nodes); do addresses+=,$(network_address "$node"):$(rabbitmq_amqp_port "$node"); done
    echo "amqp://$RABBITMQ_USER:$RABBITMQ_PASSWORD@${addresses#,}/%2f"
}

# Waits for all nodes, and until they are one cluster.
rabbitmq_wait() {
    local node
    for node in $(rabbitmq_nodes); do rabbitmq_wait_for "$node"; done
    if [[ -n $STACK_BROKERS ]]; then
        "$STACK_DIR/rabbitmqctl-1" --quiet await_online_nodes "$STACK_BROKERS" --timeout 60 ||
            die_with_log "$STACK_DIR/logs/rabbitmq-1.log" "the nodes of RabbitMQ form no cluster."
    else
        rabbitmq_demote_user
    fi
}

# The broker opens its listener last.
rabbitmq_wait_for() { # NODE
    wait_for_service "RabbitMQ ($1)" "$STACK_DIR/pids/$1" "$STACK_DIR/logs/$1.log" 120 \
        port_is_open "$(rabbitmq_amqp_port "$1")" "$(network_address "$1")"
}

# Earlier versions of this script created the user as an administrator.
rabbitmq_demote_user() {
    local demoted=$STACK_DIR/rabbitmq/user-is-no-administrator
    if [[ ! -e $demoted ]]; then
        "$STACK_DIR/rabbitmqctl" --quiet set_user_tags "$RABBITMQ_USER"
        touch "$demoted"
    fi
}

# Prints the pid files of all nodes that were started, whatever the number of nodes is now.
rabbitmq_pid_files() { # rabbitmq|epmd
    find "$STACK_DIR/pids" -type f \( -name "$1" -o -name "$1-[0-9]" \) 2>/dev/null || true
}

rabbitmq_stop() {
    local nodes
    mapfile -t nodes < <(rabbitmq_pid_files rabbitmq)
    stop_processes TERM 60 "${nodes[@]}"
    mapfile -t nodes < <(rabbitmq_pid_files epmd)
    stop_processes TERM 10 "${nodes[@]}"
}
