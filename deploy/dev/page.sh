#!/usr/bin/env bash
# The booking page's sources, in page/. `page.sh make` (`make page`) formats them, and makes what is committed: the script and
# the style sheet that the api embeds, and the types of the API. `page.sh check` is the part of `make test` that checks
# them; the tests in a browser are among those that cargo nextest runs.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

readonly MADE=api/src/booking_page/built TYPES=page/src/api/schema.d.ts
readonly FORMAT=(deno fmt --quiet --no-config --line-width=120 --single-quote)

main() {
    cd "$ROOT"
    ensure_tools deno node
    ensure_page_packages
    export DENO_DIR=$DEV_DIR/deno
    # Not those in page/node_modules, which is a link. Declarations are generated.
    mapfile -t SOURCES < <(find page -name '*.ts' ! -name '*.d.ts' | sort)
    SOURCES+=(page/build.mjs)
    case ${1:-} in
        make)
            "${FORMAT[@]}" "${SOURCES[@]}"
            make_types "$TYPES"
            node page/build.mjs "$MADE"
            ;;
        check) check ;;
        *) die "usage: page.sh make|check" ;;
    esac
}

check() {
    local fresh=$DEV_DIR/page-made
    "${FORMAT[@]}" --check "${SOURCES[@]}"
    deno lint --quiet --no-config "${SOURCES[@]}"
    rm -rf "$fresh"
    make_types "$fresh/schema.d.ts"
    cmp "$fresh/schema.d.ts" "$TYPES" || die "$TYPES does not describe the OpenAPI document." "Run \`make page\` and commit the result."
    node page/build.mjs "$fresh/built"
    diff --recursive --brief "$MADE" "$fresh/built" || die "$MADE is not what page/src makes." "Run \`make page\` and commit the result."
    node page/node_modules/typescript/bin/tsc --project page
    node page/node_modules/typescript/bin/tsc --project page/tests
    node --test --test-reporter=dot page/tests/unit/*.test.ts
}

# The types of the API's documents, from the snapshot of the OpenAPI document.
make_types() { # FILE
    local snapshots=(api/tests/it/snapshots/*openapi_document*.snap) document=$DEV_DIR/page-openapi.json
    openapi_document "${snapshots[0]}" >"$document"
    mkdir -p "$(dirname "$1")"
    node page/node_modules/openapi-typescript/bin/cli.js "$document" --output "$1" >/dev/null 2>&1
}

main "$@"
