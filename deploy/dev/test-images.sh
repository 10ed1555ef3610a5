#!/usr/bin/env bash
# `make test-images`: builds the images of the api and the worker, starts them as a container engine would, and books a seat
# through them. test-images-on-stack.sh is the second part.
#
# Docker or Podman is used if one works. Otherwise, as root, Debian's buildah builds the images without one, and in-root.sh
# starts them: image-buildah.sh says what that shows. ENGINE=docker, podman or buildah selects, for example where Podman is
# installed but can start no container.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

main() {
    cd "$ROOT"
    ENGINE=${ENGINE:-$(working_engine)}
    export ENGINE
    if [[ $ENGINE == buildah ]]; then
        enter_namespace "$@"
        # shellcheck source=deploy/dev/debian-root.sh
        source deploy/dev/debian-root.sh
        require_roots "make test-images"
    fi
    # shellcheck source=deploy/dev/image-engine.sh
    source "deploy/dev/$(image_functions)"
    check_compiler
    ensure_installed curl postgres rabbitmq
    mkdir -p "$DEV_DIR/images"
    exec 7>>"$DEV_DIR/images/lock"
    flock --nonblock 7 || die "another \`make test-images\` runs in this clone."
    trap images_delete EXIT
    images_prepare
    step "Building the images" images_build
    deploy/dev/with-stack.sh images-test -- deploy/dev/test-images-on-stack.sh "$(image_functions)" 7>&-
}

# Prints docker or podman if its service answers, or buildah.
working_engine() {
    local engine
    for engine in docker podman; do
        if command -v "$engine" >/dev/null && "$engine" info >/dev/null 2>&1; then
            echo "$engine"
            return
        fi
    done
    echo buildah
}

image_functions() {
    case $ENGINE in
        docker | podman) echo image-engine.sh ;;
        buildah) echo image-buildah.sh ;;
        *) die "ENGINE must be docker, podman or buildah, not '$ENGINE'." ;;
    esac
}

# In a mount namespace, what buildah mounts does not outlive this script.
enter_namespace() {
    if [[ -z ${HAMRO_IMAGES_NAMESPACE:-} ]] && ((EUID == 0)); then
        HAMRO_IMAGES_NAMESPACE=yes exec unshare --mount -- "${BASH_SOURCE[0]}" "$@"
    fi
}

# The Dockerfile names the compiler a second time, because its image has no rustup components.
check_compiler() {
    local version
    version=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
    if ! grep -q "^FROM lukemathwalker/cargo-chef:[0-9.]*-rust-$version-" Dockerfile ||
        ! grep -q "^ENV RUSTUP_TOOLCHAIN=$version$" Dockerfile; then
        die "the Dockerfile does not use Rust $version, as rust-toolchain.toml does."
    fi
}

main "$@"
