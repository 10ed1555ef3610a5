#!/usr/bin/env bash
# `make bench-intake` and `make bench-worker`: measure on a private PostgreSQL and RabbitMQ that are as durable as those of `make up`. Runs
# itself again beside them. Further arguments go to the benchmark.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

main() {
    find_cargo
    cd "$ROOT"
    local bench=$1
    shift
    if [[ ${1:-} != --on-stack ]]; then
        ensure_installed linker postgres rabbitmq wrk
        exec deploy/dev/with-stack.sh --durable bench -- deploy/dev/bench.sh "$bench" --on-stack "$@"
    fi
    shift
    export SQLX_OFFLINE=true
    cargo build --release --locked --bins --package hamro-api --package hamro-worker
    cargo bench --locked --package hamro-e2e --bench "$bench" -- "$@"
}

main "$@"
