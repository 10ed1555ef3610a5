# shellcheck shell=bash
# Data on small disks, for tests that fill them. Sourced by stack.sh.
#
# Each disk is a tmpfs in the mount namespace of the script that runs the stack. This needs no root where the kernel
# allows user namespaces. No other process sees the disks, and the kernel removes them with the namespace's last process,
# even after kill -9.

# The size of each service's disk in MB. If empty, the data is in an ordinary directory.
STACK_DISK_MB=

# A script that needs small disks exits with this status on a machine that does not allow them.
readonly NO_SMALL_DISKS=77

if ((EUID == 0)); then
    readonly UNSHARE_MOUNTS=(unshare --mount) ENTER_MOUNTS=(nsenter --mount)
else
    readonly UNSHARE_MOUNTS=(unshare --user --map-current-user --keep-caps --mount)
    readonly ENTER_MOUNTS=(nsenter --user --preserve-credentials --mount)
fi

small_disks_are_allowed() {
    "${UNSHARE_MOUNTS[@]}" mount -t tmpfs -o size=1m tmpfs /tmp 2>/dev/null
}

# Set for a script that one of the next two functions has restarted in a mount namespace.
IN_NAMESPACE=${HAMRO_IN_NAMESPACE:-}
unset HAMRO_IN_NAMESPACE

# Restarts the script as COMMAND in a new mount namespace.
use_small_disks() { # COMMAND…
    [[ -z $IN_NAMESPACE ]] || return 0
    if ! small_disks_are_allowed; then
        warn "this machine does not allow mounts in a namespace."
        exit "$NO_SMALL_DISKS"
    fi
    HAMRO_IN_NAMESPACE=yes exec "${UNSHARE_MOUNTS[@]}" -- "$@"
}

# Restarts the script as COMMAND in the mount namespace of the script that runs the stack, if that is another one.
enter_stack_namespace() { # COMMAND…
    local pid
    [[ -z $IN_NAMESPACE ]] && pid=$(running_pid "$STACK_DIR/pids/script") || return 0
    if [[ ! /proc/$pid/ns/mnt -ef /proc/self/ns/mnt ]]; then
        HAMRO_IN_NAMESPACE=yes exec "${ENTER_MOUNTS[@]}" --target "$pid" -- "$@"
    fi
}

mount_small_disk() { # DIRECTORY
    [[ -n $STACK_DISK_MB ]] || return 0
    mkdir -p "$1"
    mount -t tmpfs -o "size=${STACK_DISK_MB}m" tmpfs "$1"
}

unmount_small_disk() { # DIRECTORY
    if [[ -n $STACK_DISK_MB ]] && mountpoint --quiet "$1"; then umount "$1"; fi
}

# Fills the disk with one file, except for LEAVE_MB.
fill_disk() { # DIRECTORY LEAVE_MB
    mountpoint --quiet "$1" || die "$1 is not a small disk."
    if (($2 == 0)); then
        # Fails when the disk is full.
        cat /dev/zero >"$1/ballast" 2>/dev/null || true
    else
        fallocate --length "$(($(free_disk_mb "$1") - $2))MiB" "$1/ballast"
    fi
}

empty_disk() { # DIRECTORY
    rm -f "$1/ballast"
}
