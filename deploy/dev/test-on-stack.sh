#!/usr/bin/env bash
# The part of `make test` that needs PostgreSQL and RabbitMQ. test.sh runs it through with-stack.sh.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/sqlx-metadata.sh
source "$(dirname "${BASH_SOURCE[0]}")/sqlx-metadata.sh"

main() {
    cd "$ROOT"
    step "Clippy, and the metadata of the queries" collect_metadata "$TARGET_DIR/sqlx-fresh" -- --deny warnings
    step "Is .sqlx fresh?" compare_metadata
    # From here on as a fresh clone without a database would build.
    export SQLX_OFFLINE=true
    step "Building the programs" cargo build --workspace --bins --locked "${TEST_FEATURES[@]}"
    (($# > 0)) || step "Examples in the documentation" cargo test --doc --workspace --locked "${TEST_FEATURES[@]}"
    step "Tests" run_tests "$@"
    (($# > 0)) || step "Is every snapshot in use?" find_unused_snapshots
    say "All is well."
}

compare_metadata() {
    mkdir -p "$TARGET_DIR/sqlx-fresh"
    [[ -d .sqlx ]] || die "there is no .sqlx." "\`make sqlx\` writes it."
    diff --recursive --brief .sqlx "$TARGET_DIR/sqlx-fresh" ||
        die ".sqlx does not describe the queries in the code." "\`make sqlx\` writes it anew; commit the result."
}

run_tests() {
    local references=$TARGET_DIR/insta-references
    rm -f "$references"
    # A changed snapshot is a failure here, never a new file. insta notes down which snapshots the tests have looked at.
    # No terminal for nextest's input: it runs in the background, see with-stack.sh.
    INSTA_UPDATE=no INSTA_SNAPSHOT_REFERENCES_FILE=$references \
        cargo nextest run --workspace --locked "${TEST_FEATURES[@]}" "$@" </dev/null
}

find_unused_snapshots() {
    local unused
    unused=$(comm -23 \
        <(find "$PWD" -path "$TARGET_DIR" -prune -o -path "$DEV_DIR" -prune -o -name '*.snap' -print | sort -u) \
        <(cat "$TARGET_DIR/insta-references" 2>/dev/null | xargs -r -d '\n' realpath --quiet | sort -u))
    [[ -z $unused ]] || die "no test looks at these snapshots any more:" "$unused"
}

main "$@"
