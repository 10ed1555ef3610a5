#!/usr/bin/env bash
# `make down`: stops a running `make up`, or cleans up after one that was killed. Data is kept.

# shellcheck source=deploy/dev/stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack.sh"

main() {
    local pid
    stack_name "$UP"
    if [[ ! -d $STACK_DIR ]]; then
        say "Nothing is running."
        return
    fi
    if ! stack_lock; then
        pid=$(running_pid "$STACK_DIR/pids/script") || die "another command is starting or wiping it; try again."
        say "Stopping \`make up\` (process $pid)"
        kill -s TERM "$pid"
        # Longer than the combined timeouts of up.sh, PostgreSQL and RabbitMQ.
        wait_until 200 flock --nonblock 8 || die "process $pid did not stop." "Run kill -9 $pid, then \`make down\` again."
    fi
    stack_clear_leftovers
    say "Nothing is running."
}

main
