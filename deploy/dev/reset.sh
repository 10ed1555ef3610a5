#!/usr/bin/env bash
# `make reset`: deletes everything that `make up` stored: database, queues, logs, admin token and keys.

# shellcheck source=deploy/dev/stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack.sh"

main() {
    stack_name "$UP"
    if [[ -d $STACK_DIR ]]; then
        stack_lock || die "\`make up\` is running; stop it with \`make down\` first."
        stack_clear_leftovers
        stack_wipe
    fi
    say "Data deleted. The next \`make up\` starts with the demo data."
}

main
