# shellcheck shell=bash
# Builds and starts the images with Docker or Podman, which pull the base images. Sourced; image-buildah.sh has the same
# functions.

readonly CONTAINER_OPTIONS=(--network host --read-only --cap-drop ALL --security-opt no-new-privileges)

images_prepare() { :; }

images_build() {
    local target options=()
    # Podman's own format has no health commands.
    [[ $ENGINE != podman ]] || options=(--format docker)
    for target in api worker; do
        "$ENGINE" build "${options[@]}" --target "$target" --tag "$(image_name "$target")" .
    done
}

image_name() { # TARGET
    echo "hamro-test-$CLONE_ID-$1"
}

image_user() { # TARGET
    "$ENGINE" image inspect --format '{{.Config.User}}' "$(image_name "$1")"
}

image_megabytes() { # TARGET
    echo $(($("$ENGINE" image inspect --format '{{.Size}}' "$(image_name "$1")") / 1000000))
}

container_start() { # TARGET VARIABLE…
    local target=$1 variable options=()
    shift
    for variable in "$@"; do options+=(--env "$variable"); done
    "$ENGINE" run --detach --name "$(image_name "$target")" "${CONTAINER_OPTIONS[@]}" "${options[@]}" \
        "$(image_name "$target")" >/dev/null
}

# Docker itself runs the health command. Podman would need systemd for that.
container_is_healthy() { # TARGET
    if [[ $ENGINE == podman ]]; then
        podman healthcheck run "$(image_name "$1")" >/dev/null 2>&1
        return
    fi
    [[ $("$ENGINE" inspect --format '{{.State.Health.Status}}' "$(image_name "$1")") == healthy ]]
}

# Sends SIGTERM, and sets CONTAINER_STATUS to the exit status of the program.
container_stop() { # TARGET
    "$ENGINE" stop --time 45 "$(image_name "$1")" >/dev/null
    # shellcheck disable=SC2034 # used by test-images-on-stack.sh
    CONTAINER_STATUS=$("$ENGINE" inspect --format '{{.State.ExitCode}}' "$(image_name "$1")")
}

container_log() { # TARGET
    "$ENGINE" logs "$(image_name "$1")" 2>&1
}

# Runs another program of the image, as its user.
container_run() { # TARGET VARIABLE… -- COMMAND…
    local target=$1 options=()
    shift
    while [[ $1 != -- ]]; do
        options+=(--env "$1")
        shift
    done
    "$ENGINE" run --rm "${CONTAINER_OPTIONS[@]}" "${options[@]}" --entrypoint "$2" "$(image_name "$target")" "${@:3}"
}

containers_delete() {
    "$ENGINE" rm --force "$(image_name api)" "$(image_name worker)" >/dev/null 2>&1 || true
}

images_delete() {
    containers_delete
    "$ENGINE" image rm --force "$(image_name api)" "$(image_name worker)" >/dev/null 2>&1 || true
}
