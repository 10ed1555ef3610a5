#!/usr/bin/env bash
# `make audit`: checks all dependencies for licences, banned crates and sources, and for known vulnerabilities. Fails if
# the advisory database cannot be reached, unless OFFLINE=1.

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
    if [[ ${OFFLINE:-0} == 1 ]]; then
        warn "OFFLINE=1: known vulnerabilities were NOT checked."
        return
    fi
    local log=$DEV_DIR/advisories.log
    (cargo deny fetch db) >"$log" 2>&1 ||
        die_with_log "$log" \
            "the advisory database cannot be reached. \`make audit OFFLINE=1\` checks everything but known vulnerabilities."
    cargo deny --locked check advisories
}

main
