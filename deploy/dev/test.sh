#!/usr/bin/env bash
# `make test`: everything that must hold before a change goes in. Arguments go to nextest and pick tests.
#
# First what needs no build, then the rest (test-on-stack.sh) beside a throwaway PostgreSQL and RabbitMQ.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

main() {
    cd "$ROOT"
    find_cargo
    step "Installing what is missing" install_all
    step "Scripts, TypeScript, Dockerfile and compose file" lint
    step "Formatting" cargo fmt --all --check
    step "make up and make down, with stand-ins for the programs" deploy/dev/supervise-test.sh
    say "PostgreSQL and RabbitMQ for the tests"
    exec deploy/dev/with-stack.sh test -- deploy/dev/test-on-stack.sh "$@"
}

install_all() {
    ensure_installed linker postgres rabbitmq
    ensure_tools cargo-nextest check-jsonschema deno hadolint node schemathesis shellcheck
}

# No container engine is needed: these know the formats.
lint() {
    shellcheck --external-sources deploy/dev/*.sh .ci/run
    # Deno for its type checker: Node.js, which runs these in the tests, takes the types away unread.
    DENO_DIR=$DEV_DIR/deno deno check --quiet --no-config docs/book-seats.ts e2e/tests/typescript_client/run.ts
    hadolint Dockerfile
    check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
}

main "$@"
