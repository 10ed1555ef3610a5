#!/usr/bin/env bash
# `make sqlx`: regenerates .sqlx from the queries in the code and the migrations. Re-executes itself in with-stack.sh.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/sqlx-metadata.sh
source "$(dirname "${BASH_SOURCE[0]}")/sqlx-metadata.sh"

main() {
    find_cargo
    cd "$ROOT"
    if [[ ${1:-} != --on-stack ]]; then
        exec deploy/dev/with-stack.sh --only postgres sqlx -- deploy/dev/sqlx.sh --on-stack
    fi
    local fresh=$TARGET_DIR/sqlx-fresh
    collect_metadata "$fresh" --quiet
    mkdir -p .sqlx
    find .sqlx -name 'query-*.json' -delete
    find "$fresh" -name 'query-*.json' -exec cp {} .sqlx/ \;
    say "Wrote .sqlx: $(find .sqlx -name 'query-*.json' | wc -l) queries."
}

main "$@"
