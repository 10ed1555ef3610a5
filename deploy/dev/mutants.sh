#!/usr/bin/env bash
# `make mutants`: mutation tests of the pure rules, which are the domain and the allocation of seats. Each mutant changes one
# expression and must make a unit test fail. All other rules are checked by the fault tests, which disable safeguards.
# Arguments replace the default selection of files.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

readonly CARGO_MUTANTS=27.1.0
readonly FILES=(--file 'shared/src/domain/*.rs' --file worker/src/settlement/allocation.rs)

main() {
    cd "$ROOT"
    find_cargo
    ensure_installed linker
    export SQLX_OFFLINE=true PATH=$DEV_DIR/mutants/bin:$PATH
    cargo mutants --version >/dev/null 2>&1 ||
        step "Installing cargo-mutants" cargo install --locked --root "$DEV_DIR/mutants" "cargo-mutants@$CARGO_MUTANTS"
    (($# > 0)) || set -- "${FILES[@]}"
    # In a copy of the tree, and with unit tests only: no mutant needs a service.
    cargo mutants --output "$DEV_DIR" --cargo-arg=--locked --test-tool cargo --minimum-test-timeout 60 "$@" -- --lib
}

main "$@"
