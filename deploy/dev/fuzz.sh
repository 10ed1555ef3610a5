#!/usr/bin/env bash
# `make fuzz`: runs each target in shared/fuzz for FUZZ_SECONDS (default 60). Failing inputs are stored in
# shared/fuzz/artifacts/.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

main() {
    cd "$ROOT/shared"
    find_cargo
    ensure_installed linker cxx
    ensure_tools cargo-fuzz
    local target
    for target in parcel ticket response_framing; do
        # No sanitizer: it would need a nightly compiler. The code has no `unsafe`, so the fuzzer only looks for panics.
        step "Fuzzing $target" cargo fuzz run --sanitizer none "$target" -- \
            -max_total_time="${FUZZ_SECONDS:-60}" -print_final_stats=1 -verbosity=0
    done
}

main
