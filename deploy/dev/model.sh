#!/usr/bin/env bash
# `make model`: explores the models of the protocol (model/) with larger bounds than `make test` does. Arguments are passed
# to the tests to select some of them.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/sqlx-metadata.sh
source "$(dirname "${BASH_SOURCE[0]}")/sqlx-metadata.sh"

main() {
    cd "$ROOT"
    find_cargo
    ensure_installed linker
    export SQLX_OFFLINE=true
    # The build of `make test`, which optimizes the models (Cargo.toml). One test at a time, because each may need some
    # gigabytes.
    cargo test --workspace --locked "${TEST_FEATURES[@]}" --test models -- \
        --ignored --nocapture --test-threads 1 "$@"
}

main "$@"
