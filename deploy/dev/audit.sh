#!/usr/bin/env bash
# `make audit`: checks all dependencies for licences, banned crates and sources, and for known vulnerabilities if the
# advisory database can be reached.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

main() {
    cd "$ROOT"
    find_cargo
    ensure_tools cargo-deny
    cargo deny --locked check bans licenses sources

    local log=$DEV_DIR/advisories.log
    if (cargo deny fetch db) >"$log" 2>&1; then
        cargo deny --locked check advisories
    else
        tail -n 3 "$log" >&2
        warn "the advisory database cannot be reached: known vulnerabilities were NOT checked."
    fi
}

main
