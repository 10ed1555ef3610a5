#!/usr/bin/env bash
# `make test-next`: runs `make test` on the next Debian, 13, with its RabbitMQ 4 and PostgreSQL 17. Arguments are passed to
# nextest to select tests.
#
# The first run installs that Debian into .dev/next/root. Later runs use it again, with its packages, tools and builds;
# `make clean-next` deletes it. Each run tests a copy of this clone: the committed files with the changes that are not yet committed.
# The copy has the same path as the clone. Rust is the host's: rustup's toolchains run on any Debian.
#
#   REUSE_TARGET=1   begins with the programs that are built in target/, which saves the time of the first build. They are
#                    linked against the host's C library, so a test of what releases for Debian 13 need leaves it unset.
#                    What this run builds does not reach target/.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/debian-root.sh
source "$(dirname "${BASH_SOURCE[0]}")/debian-root.sh"

readonly SUITE=trixie NEXT_DIR=$DEV_DIR/next
readonly NEXT_ROOT=$NEXT_DIR/root

main() {
    cd "$ROOT"
    require_roots "make test-next"
    find_cargo
    find_rustup
    ensure_installed debootstrap
    mkdir -p "$NEXT_DIR"
    exec 8>>"$NEXT_DIR/lock"
    flock --nonblock 8 || die "another \`make test-next\` runs in this clone."

    [[ -d $NEXT_ROOT ]] || step "Installing Debian 13 into ${NEXT_ROOT#"$ROOT/"}" install_debian
    copy_sources
    # In there, cargo cannot write to its home directory.
    cargo fetch --locked --quiet
    local status=0 began=$SECONDS rabbitmq postgres
    run_tests "$@" || status=$?
    rabbitmq=$(version_of rabbitmq-server)
    postgres=$(version_of postgresql-17)
    if ! grep -q "image: rabbitmq:$rabbitmq-" docker-compose.yml || ! grep -q "image: postgres:$postgres-" docker-compose.yml; then
        warn "docker-compose.yml names other versions of RabbitMQ or PostgreSQL than those of this run."
    fi
    say "make test-next: $(verdict $status "$@") on Debian $(cat "$NEXT_ROOT/etc/debian_version") with" \
        "RabbitMQ $rabbitmq and PostgreSQL $postgres, in $((SECONDS - began)) s."
    exit $status
}

# The directories that the programs of rustup need.
find_rustup() {
    CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}
    RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
    [[ -x $CARGO_HOME/bin/cargo && -d $RUSTUP_HOME/toolchains ]] ||
        die "Rust is not installed by rustup in $CARGO_HOME and $RUSTUP_HOME." "Install it (https://rustup.rs), then try again."
}

# shellcheck disable=SC2329 # called by step
# A bare Debian: `make test` installs what it needs, as it would on a machine of a developer.
install_debian() {
    local log=$NEXT_DIR/install.log
    rm -rf "$NEXT_ROOT.new"
    make_debian_root "$SUITE" "$NEXT_ROOT.new" ca-certificates >"$log" 2>&1 ||
        die_with_log "$log" "Debian 13 could not be installed."
    mv "$NEXT_ROOT.new" "$NEXT_ROOT"
}

# Keeps the times of the files, so that cargo builds what has changed. Files that the clone no longer has disappear.
copy_sources() {
    local copy=$NEXT_ROOT$ROOT kept
    rm -rf "$copy.new"
    mkdir -p "$copy.new"
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        if [[ -e $file || -L $file ]]; then printf '%s\0' "$file"; fi
    done | tar --create --null --no-recursion --files-from=- | tar --extract --same-permissions --directory="$copy.new"
    for kept in target .dev; do
        if [[ -e $copy/$kept ]]; then mv "$copy/$kept" "$copy.new/$kept"; fi
    done
    rm -rf "$copy"
    mv "$copy.new" "$copy"
}

run_tests() { # ARGUMENT…
    local options=(--lend "$CARGO_HOME" --lend "$RUSTUP_HOME") file
    while IFS= read -r file; do options+=(--lend "$file"); done < <(host_settings)
    if [[ -n ${REUSE_TARGET:-} ]]; then
        # What was written over an earlier state of target/ does not fit this one.
        rm -rf "$NEXT_DIR/target-changes"
        options+=(--overlay "$TARGET_DIR" "$NEXT_DIR/target-changes")
    fi
    # The clone's make up and make test use other ports. Process 1 must be a shell, which reaps orphaned processes.
    # shellcheck disable=SC2016 # expanded by that shell
    env --unset=CARGO_TARGET_DIR --unset=TMPDIR --unset=LC_ALL --unset=DATABASE_URL --unset=AMQP_URL --unset=MAKEFLAGS \
        CARGO_HOME="$CARGO_HOME" RUSTUP_HOME="$RUSTUP_HOME" HOME="$HOME" LANG=C.UTF-8 HAMRO_CLONE_SUFFIX=/next \
        PATH="$CARGO_HOME/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        deploy/dev/in-root.sh "${options[@]}" "$NEXT_ROOT" -- \
        bash -c 'cd "$1" && shift && deploy/dev/test.sh "$@"; exit $?' bash "$ROOT" "$@" 8>&-
}

verdict() { # STATUS ARGUMENT…
    local what="all checks"
    (($# == 1)) || what="the checks and the tests selected by ${*:2}"
    if (($1 == 0)); then echo "$what passed"; else echo "$what FAILED"; fi
}

# Prints the version without Debian's revision.
version_of() { # PACKAGE
    # shellcheck disable=SC2016 # dpkg-query expands it
    { dpkg-query --admindir="$NEXT_ROOT/var/lib/dpkg" --show --showformat '${Version}' "$1" 2>/dev/null || echo "(missing)"; } |
        cut -d - -f 1
}

main "$@"
