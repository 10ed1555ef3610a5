#!/usr/bin/env bash
# `make reset`: wipes what `make up` has stored: the database, the queues, the logs, the admin token and the keys.

# shellcheck source=deploy/dev/stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack.sh"

main() {
    stack_name "$UP"
    if [[ -d $STACK_DIR ]]; then
        stack_lock || die "it is running: \`make down\` first."
        stack_clear_leftovers
        stack_wipe
    fi
    say "Wiped. The next \`make up\` starts with the demo data."
}

main
