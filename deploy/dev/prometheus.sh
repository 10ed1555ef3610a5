# shellcheck shell=bash
# The Prometheus of `make up PROMETHEUS=1`: Debian's, with its own data and port, only on 127.0.0.1. Sourced by up.sh after
# stack.sh. Its rules are those of deploy/prometheus.

# How long it keeps data, whichever is reached first.
readonly PROMETHEUS_RETENTION=15d PROMETHEUS_DISK=1GB

# Chooses the ports: PROMETHEUS_PORT, and WORKER_PORTS for the metrics of the workers.
prometheus_ports() { # WORKERS
    local number
    # As in stack_start: stacks must not choose the same ports.
    exec 9>>"$DEV_DIR/ports.lock"
    flock 9
    PROMETHEUS_PORT=$(stack_port prometheus 4)
    WORKER_PORTS=(unused)
    for ((number = 1; number <= $1; number++)); do
        WORKER_PORTS+=("${WORKER_HTTP_PORT:-$(stack_port "worker-$number" $((4 + number)))}")
    done
    exec 9>&-
}

# Waits until it is ready.
prometheus_start() { # API_PORT, uses PROMETHEUS_PORT and WORKER_PORTS
    local home=$STACK_DIR/prometheus
    mkdir -p "$home"
    prometheus_config "$1" >"$home/prometheus.yml"
    begin_log "$STACK_DIR/logs/prometheus.log"
    prometheus_run
    wait_for_service Prometheus "$STACK_DIR/pids/prometheus" "$STACK_DIR/logs/prometheus.log" 60 prometheus_is_ready
}

# Restarts it with the configuration of its last start.
prometheus_run() {
    local home=$STACK_DIR/prometheus
    start_detached "$STACK_DIR/pids/prometheus" "$STACK_DIR/logs/prometheus.log" prometheus \
        --config.file="$home/prometheus.yml" --web.listen-address="127.0.0.1:$PROMETHEUS_PORT" \
        --storage.tsdb.path="$home/data" --storage.tsdb.retention.time="$PROMETHEUS_RETENTION" \
        --storage.tsdb.retention.size="$PROMETHEUS_DISK" --log.level=warn
}

# shellcheck disable=SC2329 # called by wait_for_service
prometheus_is_ready() { [[ $(http_status "$PROMETHEUS_PORT" /-/ready) == 200 ]]; }

# All programs are on this machine, so they serve their metrics at the ports that they have anyway.
prometheus_config() { # API_PORT, uses WORKER_PORTS
    local port
    cat <<CONFIG
# Written by \`make up\`.
global: { scrape_interval: 5s, scrape_timeout: 4s, evaluation_interval: 15s }
rule_files: ["$ROOT/deploy/prometheus/rules/*.yml"]
scrape_configs:
  - job_name: api
    static_configs:
      - targets: ["127.0.0.1:$1"]
CONFIG
    ((${#WORKER_PORTS[@]} > 1)) || return 0
    printf '  - job_name: worker\n    static_configs:\n      - targets:\n'
    for port in "${WORKER_PORTS[@]:1}"; do printf '          - "127.0.0.1:%s"\n' "$port"; done
}
