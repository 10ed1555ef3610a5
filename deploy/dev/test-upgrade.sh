#!/usr/bin/env bash
# `make test-upgrade`: runs the tests of an upgrade and a rollback with the programs of an earlier revision as the previous
# version: on its schema first, then migrated, old and new side by side, behind both proxies, under load.
#
# PREVIOUS names the revision. By default it is the newest tag before this commit or, without tags, the commit before the newest
# migration. It is built in .dev/previous, which takes some minutes and gigabytes; the same revision is built once.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"
# shellcheck source=deploy/dev/sqlx-metadata.sh
source "$(dirname "${BASH_SOURCE[0]}")/sqlx-metadata.sh"

PREVIOUS_DIR=$DEV_DIR/previous

main() {
    cd "$ROOT"
    find_cargo
    ensure_installed caddy linker nginx postgres rabbitmq
    ensure_tools cargo-nextest
    local revision
    revision=$(previous_revision)
    step "Building the programs of $(git log -1 --format='%h, %cs: %s' "$revision")" build_previous "$revision"
    export SQLX_OFFLINE=true
    # nextest does not build the programs that the tests run.
    step "Building this version" cargo build --workspace --bins --locked "${TEST_FEATURES[@]}"
    export HAMRO_PREVIOUS_API=$PREVIOUS_DIR/target/debug/hamro-api
    export HAMRO_PREVIOUS_WORKER=$PREVIOUS_DIR/target/debug/hamro-worker
    # One after the other: each loads both processors.
    exec deploy/dev/with-stack.sh upgrade -- cargo nextest run --workspace --locked "${TEST_FEATURES[@]}" \
        --test-threads 1 --no-capture \
        -E 'package(hamro-e2e) & test(/^rolling_restart::behind_proxies::/)' </dev/null
}

previous_revision() {
    local revision=${PREVIOUS:-} newest
    if [[ -z $revision ]]; then
        revision=$(git describe --tags --abbrev=0 HEAD^ 2>/dev/null) || {
            newest=$(git log -1 --diff-filter=A --format=%H -- migrations)
            revision=$newest^
        }
    fi
    git rev-parse --verify --quiet "$revision^{commit}" ||
        die "there is no revision $revision." "Name one: \`make test-upgrade PREVIOUS=main~20\`." \
            "A shallow clone has only the newest: git fetch --unshallow --tags"
}

# A source tree of its own, so that nothing of this one changes.
build_previous() { # REVISION
    local source=$PREVIOUS_DIR/source built=$PREVIOUS_DIR/built
    [[ $(cat "$built" 2>/dev/null) != "$1" ]] || return 0
    rm -rf "$source" "$built"
    mkdir -p "$source"
    git archive "$1" | tar -x -C "$source"
    (
        cd "$source"
        SQLX_OFFLINE=true CARGO_TARGET_DIR=$PREVIOUS_DIR/target \
            cargo build --locked "${TEST_FEATURES[@]}" --bin hamro-api --bin hamro-worker
    )
    printf '%s\n' "$1" >"$built"
}

main "$@"
