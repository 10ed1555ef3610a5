# shellcheck shell=bash
# Builds the images with buildah and starts them with in-root.sh, on a machine that can run no container engine. Sourced;
# image-engine.sh has the same functions.
#
# The Dockerfile is built as it is. Its base images are made here, with debootstrap, under the names that it uses. The
# compiler is the host's, mounted during the build. PULL=1 takes the published base images from their registry instead.
#
# A program is started as process 1 of its own namespace with the image's environment, user and entry point, a read-only
# file system, no capabilities, and the host's network. An engine's limits of memory and system calls are not shown.

readonly IMAGES_DIR=$DEV_DIR/images
readonly RUST_DIR=/usr/local/rust BUILD_CARGO_HOME=/usr/local/cargo

images_prepare() {
    ensure_installed buildah debootstrap
    find_cargo
    # Left by a run that was killed.
    images_delete
    mkdir -p "$IMAGES_DIR/tmp"
    # In a clone that is itself in a container, overlay file systems may be impossible. vfs copies each layer.
    echo vfs >"$IMAGES_DIR/driver"
    if scratch_container overlay; then echo overlay >"$IMAGES_DIR/driver"; fi
    [[ -n ${PULL:-} ]] || step "Making the base images, with debootstrap" make_base_images
}

# shellcheck disable=SC2329 # called by images_prepare
scratch_container() { # DRIVER
    local storage=$IMAGES_DIR/try
    buildah --storage-driver "$1" --root "$storage" --runroot "$storage/run" from --name try scratch >/dev/null 2>&1 &&
        buildah --storage-driver "$1" --root "$storage" --runroot "$storage/run" mount try >/dev/null 2>&1
}

images() { # COMMAND… of buildah
    TMPDIR=$IMAGES_DIR/tmp buildah --storage-driver "$(cat "$IMAGES_DIR/driver")" --root "$IMAGES_DIR/storage" \
        --runroot "$IMAGES_DIR/run" "$@" 7>&-
}

# shellcheck disable=SC2329 # called by step
make_base_images() {
    local chef debian log=$IMAGES_DIR/bases.log
    chef=$(sed -n 's/^FROM \(lukemathwalker[^ ]*\) .*/\1/p' Dockerfile)
    debian=$(sed -n 's/^FROM \(debian:[^ ]*\) .*/\1/p' Dockerfile)
    [[ $chef == *-bookworm && $debian == debian:bookworm-slim ]] || die "the Dockerfile uses other base images: $chef $debian."
    {
        images from --name debian scratch &&
            make_debian_root bookworm "$(images mount debian)" &&
            images config --cmd bash debian &&
            images commit --quiet debian "localhost/$debian" &&
            make_chef_image "localhost/$debian" "$chef" &&
            images rm --all
    } >"$log" 2>&1 || die_with_log "$log" "the base images could not be made."
}

# As the published image has them: a C compiler, and cargo-chef of the version in its name. Without optimisation, cargo-chef
# is compiled sooner.
make_chef_image() { # BASE NAME
    local version=${2#*:} volumes
    mapfile -t volumes < <(build_volumes)
    images from --name chef "$1" &&
        images config --env "CARGO_HOME=$BUILD_CARGO_HOME" --env "PATH=$RUST_DIR/bin:/usr/local/bin:/usr/bin:/bin" chef &&
        images run --isolation chroot chef -- sh -c 'apt-get -qq update &&
            apt-get -qq install --yes --no-install-recommends ca-certificates g++ gcc libc6-dev make </dev/null' &&
        images run --isolation chroot "${volumes[@]}" chef -- \
            env cargo install --quiet --debug --locked --root /usr/local "cargo-chef@${version%%-*}" &&
        images commit --quiet chef "localhost/$2"
}

# The host's compiler, and how it reaches the registry of crates.
build_volumes() {
    local certificates=/etc/ssl/certs/ca-certificates.crt
    echo "--volume=$(rustc --print sysroot):$RUST_DIR:ro"
    # The whole directory, so that builds outside respect its locks.
    echo "--volume=${CARGO_HOME:-$HOME/.cargo}:$BUILD_CARGO_HOME"
    if [[ -f $certificates ]]; then echo "--volume=$certificates:$certificates:ro"; fi
}

# The layers of the first build serve the second. Only Docker's format has health commands.
# shellcheck disable=SC2329 # called by step
images_build() {
    local target options=(--pull) log=$IMAGES_DIR/build.log
    if [[ -z ${PULL:-} ]]; then
        mapfile -t options < <(build_volumes)
        options+=(--pull-never)
    fi
    : >"$log"
    for target in api worker; do
        images bud --isolation chroot --layers --format docker "${options[@]}" --target "$target" --tag "$target" . >>"$log" 2>&1 ||
            die_with_log "$log" "the image of the $target could not be built."
        images from --name "$target-container" --pull-never "localhost/$target" >/dev/null
    done
}

image_property() { # TARGET TEMPLATE
    images inspect --type image --format "$2" "localhost/$1"
}

image_user() { # TARGET
    image_property "$1" '{{.Docker.Config.User}}'
}

image_megabytes() { # TARGET
    du --summarize --block-size=1000000 "$(image_root "$1")" | cut -f 1
}

image_root() { # TARGET
    images mount "$1-container"
}

container_start() { # TARGET VARIABLE…
    local target=$1 entrypoint command
    shift
    mapfile -t entrypoint < <(image_property "$target" '{{range .Docker.Config.Entrypoint}}{{println .}}{{end}}' | sed '/^$/d')
    printf '%s\n' "$@" >"$IMAGES_DIR/$target.variables"
    container_command "$target" "$@" -- "${entrypoint[@]}"
    "${command[@]}" >"$IMAGES_DIR/$target.log" 2>&1 &
    echo $! >"$IMAGES_DIR/$target.pid"
}

# Runs the health command of the image.
container_is_healthy() { # TARGET
    local health variables
    mapfile -t variables <"$IMAGES_DIR/$1.variables"
    # The first word is CMD.
    mapfile -t health < <(image_property "$1" '{{range .Docker.Config.Healthcheck.Test}}{{println .}}{{end}}' | sed '/^$/d')
    container_run "$1" "${variables[@]}" -- "${health[@]:1}" >>"$IMAGES_DIR/$1.health.log" 2>&1
}

# Sends SIGTERM, and sets CONTAINER_STATUS to the exit status of the program.
# shellcheck disable=SC2034 # used by test-images-on-stack.sh
container_stop() { # TARGET
    local pid
    pid=$(cat "$IMAGES_DIR/$1.pid")
    CONTAINER_STATUS=0
    # The program is the child of the process that waits for its namespaces.
    kill -s TERM "$(processes_of parent "$pid")"
    # As long as docker-compose.yml waits.
    wait_until 45 has_ended "$pid" || kill -s KILL "$pid"
    wait "$pid" || CONTAINER_STATUS=$?
    rm -f "$IMAGES_DIR/$1.pid"
}

# Also true for a process for which this script has not waited yet.
# shellcheck disable=SC2329 # called by wait_until
has_ended() { # PID
    ! read_start_time "$1"
}

container_log() { # TARGET
    cat "$IMAGES_DIR/$1.log"
}

# Runs another program of the image, as its user.
container_run() { # TARGET VARIABLE… -- COMMAND…
    local command
    container_command "$@"
    "${command[@]}"
}

# Sets the caller's `command`.
container_command() { # TARGET VARIABLE… -- COMMAND…
    local target=$1 user environment
    shift
    user=$(image_user "$target")
    mapfile -t environment < <(image_property "$target" '{{range .Docker.Config.Env}}{{println .}}{{end}}' | sed '/^$/d')
    while [[ $1 != -- ]]; do
        environment+=("$1")
        shift
    done
    shift
    command=(deploy/dev/in-root.sh --read-only --lend /etc/resolv.conf "$(image_root "$target")" --
        setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs --
        env -i "${environment[@]}" "$@")
}

containers_delete() {
    local pid_file
    for pid_file in "$IMAGES_DIR"/*.pid; do
        if [[ -e $pid_file ]]; then kill -s KILL "$(cat "$pid_file")" 2>/dev/null || true; fi
    done
}

images_delete() {
    if [[ -d $IMAGES_DIR/storage ]]; then containers_delete; fi
    # They are in a namespace of this run, and would prevent the deletion.
    { grep -o " $IMAGES_DIR/[^ ]*" /proc/self/mounts || true; } | tac | xargs --no-run-if-empty umount --lazy
    find "$IMAGES_DIR" -mindepth 1 -maxdepth 1 ! -name lock ! -name '*.log' -exec rm -rf {} +
}
