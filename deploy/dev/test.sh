#!/usr/bin/env bash
# `make test`: all checks that a change must pass. Arguments are passed to nextest to select tests.
#
# First the checks that need no build, then the rest (test-on-stack.sh) with a throwaway PostgreSQL and RabbitMQ.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

main() {
    cd "$ROOT"
    find_cargo
    step "Installing missing packages and tools" install_all
    step "Scripts, TypeScript, Dockerfile and compose file" lint
    step "OpenAPI document" lint_openapi
    step "Booking page" deploy/dev/page.sh check
    step "Alert rules" test_alert_rules
    step "Kubernetes manifests" deploy/dev/kubernetes.sh
    step "Formatting" cargo fmt --all --check
    # Also fails if a crate has examples in its documentation: `doctest = false` saves the time to look for them.
    step "Unused dependencies" cargo shear --locked --check-test-targets --deny-warnings
    # `make audit` also checks the advisories, which needs the network.
    step "Licences, banned crates and sources" cargo deny --locked check bans licenses sources
    step "make up and make down, with stub programs" deploy/dev/supervise-test.sh
    say "Starting PostgreSQL and RabbitMQ for the tests"
    exec deploy/dev/with-stack.sh test -- deploy/dev/test-on-stack.sh "$@"
}

install_all() {
    ensure_installed caddy chromium curl linker nginx pgbouncer postgres prometheus rabbitmq
    ensure_tools cargo-deny cargo-nextest cargo-shear cel-python check-jsonschema deno hadolint kubernetes-validate mypy node \
        openapi-python-client schemathesis shellcheck
    ensure_npm_packages
    ensure_page_packages
}

# These linters need no container engine.
lint() {
    shellcheck --external-sources deploy/dev/*.sh deploy/kubernetes/*.sh .ci/run
    # Deno checks the types. Node.js, which runs these files in the tests, only strips them.
    DENO_DIR=$DEV_DIR/deno deno check --quiet --no-config docs/book-seats.ts e2e/tests/it/bookings/typescript_client/run.ts
    lint_live_view
    hadolint Dockerfile
    check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml docker-compose.cluster.yml docker-compose.secrets.yml
}

# The scripts of the live view. Their tests simulate a browser with an npm package, which deno.lock pins with its hash.
lint_live_view() {
    local page=api/src/ops/page
    local -x DENO_DIR=$DEV_DIR/deno
    deno fmt --check --quiet --no-config --line-width=120 --single-quote "$page"/*.js
    deno lint --quiet --no-config "$page"/*.js
    deno test --quiet --no-config --no-remote --lock="$page/deno.lock" --frozen --allow-read="$page" --allow-env "$page"
}

# See the tests in deploy/prometheus/tests. Names of metrics are checked by the end-to-end tests.
test_alert_rules() {
    promtool check config deploy/prometheus/prometheus.yml
    promtool test rules deploy/prometheus/tests/*.yml
}

# Lints the snapshot of the document, so that no build is needed; a test compares it with the code.
lint_openapi() {
    local snapshots=(api/tests/it/snapshots/*openapi_document*.snap) document=$NPM_DIR/openapi.json rules=deploy/dev/openapi
    openapi_document "${snapshots[0]}" >"$document"
    REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true node "$NPM_DIR/node_modules/@redocly/cli/bin/cli.js" \
        lint "$document" --config "$rules/redocly.yaml" --format stylish
    node "$NPM_DIR/node_modules/@stoplight/spectral-cli/dist/index.js" \
        lint "$document" --ruleset "$rules/spectral.yaml" --fail-severity hint
}

main "$@"
