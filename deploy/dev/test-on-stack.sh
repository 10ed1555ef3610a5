#!/usr/bin/env bash
# The part of `make test` that needs PostgreSQL and RabbitMQ. test.sh runs it through with-stack.sh.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/small-disk.sh
source "$(dirname "${BASH_SOURCE[0]}")/small-disk.sh"
# shellcheck source=deploy/dev/sqlx-metadata.sh
source "$(dirname "${BASH_SOURCE[0]}")/sqlx-metadata.sh"

main() {
    cd "$ROOT"
    step "Clippy and query metadata" collect_metadata "$TARGET_DIR/sqlx-fresh" -- --deny warnings
    step "Comparing .sqlx with the queries" compare_metadata
    # From here on, build as a fresh clone without a database does.
    export SQLX_OFFLINE=true
    step "Tests" run_tests "$@"
    small_disks_are_allowed ||
        warn "SKIPPED the tests faults::full_disk::*, because this machine does not allow mounts in a namespace."
    (($# > 0)) || step "Looking for unused snapshots" find_unused_snapshots
    say "All checks passed."
}

compare_metadata() {
    mkdir -p "$TARGET_DIR/sqlx-fresh"
    [[ -d .sqlx ]] || die "there is no .sqlx." "Generate it with \`make sqlx\`."
    diff --recursive --brief .sqlx "$TARGET_DIR/sqlx-fresh" ||
        die ".sqlx does not match the queries in the code." "Regenerate it with \`make sqlx\` and commit the result."
}

run_tests() {
    local references=$TARGET_DIR/insta-references
    rm -f "$references"
    # A changed snapshot fails the test and creates no file. insta records which snapshots the tests read.
    # Most tests wait for processes and timeouts more than they compute: run two for each processor.
    # nextest must not read from the terminal, because it runs in the background (see with-stack.sh).
    NEXTEST_TEST_THREADS=${NEXTEST_TEST_THREADS:-$((2 * $(nproc)))} INSTA_UPDATE=no INSTA_SNAPSHOT_REFERENCES_FILE=$references \
        cargo nextest run --workspace --locked "${TEST_FEATURES[@]}" "$@" </dev/null
}

find_unused_snapshots() {
    local unused
    unused=$(comm -23 \
        <(find "$PWD" -path "$TARGET_DIR" -prune -o -path "$DEV_DIR" -prune -o -name '*.snap' -print | sort -u) \
        <(cat "$TARGET_DIR/insta-references" 2>/dev/null | xargs -r -d '\n' realpath --quiet | sort -u))
    [[ -z $unused ]] || die "no test uses these snapshots:" "$unused"
}

main "$@"
