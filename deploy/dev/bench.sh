#!/usr/bin/env bash
# `make bench-intake` and `make bench-worker`: run a benchmark on a private PostgreSQL and RabbitMQ, which are as
# durable as those of `make up`. Re-executes itself in with-stack.sh. Further arguments are passed to the benchmark.

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
    if [[ " $* " == *" metrics "* ]]; then
        "${BUILD_RELEASE[@]}" --features hamro-api/without-metrics --bin hamro-api
        cp "$TARGET_DIR/release/hamro-api" "$TARGET_DIR/release/hamro-api-without-metrics"
    fi
    "${BUILD_RELEASE[@]}" --bin hamro-api --bin hamro-worker --bin "bench-$bench"
    "$TARGET_DIR/release/bench-$bench" "$@"
}

main "$@"
