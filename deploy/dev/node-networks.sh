# shellcheck shell=bash
# A network for each node of a RabbitMQ cluster, for tests that cut a node off. Sourced by stack.sh.
#
# Each node runs in its own network namespace. A bridge connects the namespaces with each other and with this machine. The
# addresses are in 198.18.0.0/15, which RFC 2544 reserves for tests. This needs root.

# If not empty, the next start of a cluster uses these networks.
# shellcheck disable=SC2034 # used by the scripts that source this file
STACK_NETWORKS=

# A script that needs these networks exits with this status on a machine that does not allow them.
readonly NO_NETWORKS=77

readonly NETWORK_BRIDGE=hc${CLONE_ID:0:8}
readonly NETWORK_PREFIX=198.18.$((0x${CLONE_ID:0:2}))

require_networks() {
    ensure_installed ip
    if ! unshare --net ip link add name bridge-test type bridge 2>/dev/null; then
        warn "this machine does not allow network namespaces."
        exit "$NO_NETWORKS"
    fi
}

# Whether the nodes of this stack have networks.
has_networks() {
    [[ -e $STACK_DIR/networks ]]
}

network_name() { # NODE
    echo "hamro-${CLONE_ID:0:8}-$STACK_NAME-${1#rabbitmq-}"
}

# Prints the address at which a node listens.
network_address() { # NODE
    if has_networks; then echo "$NETWORK_PREFIX.${1#rabbitmq-}"; else echo 127.0.0.1; fi
}

# Sets IN_NETWORK to what a command must begin with to run in the network of a node.
# shellcheck disable=SC2034 # used by rabbitmq.sh
enter_network() { # NODE
    IN_NETWORK=()
    if has_networks; then IN_NETWORK=(ip netns exec "$(network_name "$1")"); fi
}

create_networks() { # NODE…
    local node name link
    # A run that was killed, or a machine that was copied meanwhile, may have left some.
    delete_networks
    touch "$STACK_DIR/networks"
    ip link add name "$NETWORK_BRIDGE" type bridge
    ip address add "$NETWORK_PREFIX.254/24" dev "$NETWORK_BRIDGE"
    ip link set "$NETWORK_BRIDGE" up
    for node in "$@"; do
        name=$(network_name "$node") link=$NETWORK_BRIDGE-${node#rabbitmq-}
        ip netns add "$name"
        ip link add name "$link" type veth peer name node netns "$name"
        ip link set "$link" master "$NETWORK_BRIDGE" up
        ip -netns "$name" link set lo up
        ip -netns "$name" address add "$(network_address "$node")/24" dev node
        ip -netns "$name" link set node up
    done
}

remove_networks() {
    has_networks || return 0
    delete_networks
    rm -f "$STACK_DIR/networks"
}

delete_networks() {
    local name
    # Each removes the link of the node, too.
    for name in /run/netns/"$(network_name '')"[0-9]; do
        if [[ -e $name ]]; then ip netns delete "${name##*/}" || true; fi
    done
    if ip link show "$NETWORK_BRIDGE" >/dev/null 2>&1; then ip link delete "$NETWORK_BRIDGE"; fi
}

# Drops everything that is sent to or from a node, without a word to either side, or ends that.
switch_network() { # NODE up|down
    has_networks || die "$1 has no network of its own."
    ip link set "$NETWORK_BRIDGE-${1#rabbitmq-}" "$2"
}
