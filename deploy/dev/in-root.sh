#!/usr/bin/env bash
# Runs a command with another directory as its root: `in-root.sh [OPTION…] DIRECTORY -- COMMAND…`
#
#   --read-only             nothing in the directory can be written
#   --lend PATH             the host's file or directory at the same path, read-only
#   --overlay PATH CHANGES  the host's directory at the same path; what is written there goes into the directory CHANGES
#
# COMMAND is process 1 of new mount, process and IPC namespaces. When it ends, or this script or its caller is killed (even by
# kill -9), the kernel ends all processes and mounts in them: nothing stays mounted, and deleting DIRECTORY deletes nothing
# else. The network is the host's. A signal for COMMAND must go to the child of this script's process.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

main() {
    if [[ -z ${HAMRO_IN_ROOT:-} ]]; then
        HAMRO_IN_ROOT=yes exec setpriv --pdeathsig KILL -- \
            unshare --mount --pid --ipc --fork --kill-child -- "${BASH_SOURCE[0]}" "$@"
    fi
    unset HAMRO_IN_ROOT
    local read_only='' lent=() overlays=() root
    while (($# > 0)); do
        case $1 in
            --read-only) read_only=yes ;;
            --lend) lent+=("$2") && shift ;;
            --overlay) overlays+=("$2" "$3") && shift 2 ;;
            *) break ;;
        esac
        shift
    done
    [[ -d ${1:-} && ${2:-} == -- && $# -gt 2 ]] || die "usage: in-root.sh [OPTION…] DIRECTORY -- COMMAND…"
    root=$(realpath "$1")
    shift 2
    # The new root must be a mount point. What this script mounts must come along, so it is mounted below it.
    mount --bind "$root" "$root"
    mount_system "$root"
    mount_from_host "$root"
    [[ -z $read_only ]] || mount -o remount,bind,ro "$root"
    # Unlike chroot, this lets the command create user namespaces, and hides the rest of the host's files.
    cd "$root"
    pivot_root . .
    umount --lazy .
    exec "$@"
}

mount_system() { # ROOT
    mount -t proc proc "$1/proc"
    mount --rbind /sys "$1/sys"
    mount --bind /dev "$1/dev"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$1/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
}

mount_from_host() { # ROOT, uses main's lent and overlays
    local path index
    for path in "${lent[@]}"; do
        make_mount_point "$path" "$1$path"
        mount --bind "$(realpath "$path")" "$1$path"
        mount -o remount,bind,ro "$1$path"
    done
    for ((index = 0; index < ${#overlays[@]}; index += 2)); do
        path=${overlays[index]}
        mkdir -p "$1$path" "${overlays[index + 1]}"/{upper,work}
        mount -t overlay -o "lowerdir=$path,upperdir=${overlays[index + 1]}/upper,workdir=${overlays[index + 1]}/work" \
            overlay "$1$path"
    done
}

make_mount_point() { # SOURCE TARGET
    if [[ -L $2 ]]; then rm "$2"; fi
    if [[ -d $1 ]]; then
        mkdir -p "$2"
    else
        mkdir -p "$(dirname "$2")"
        [[ -e $2 ]] || : >"$2"
    fi
}

main "$@"
