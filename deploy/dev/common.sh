# shellcheck shell=bash
# Shared helpers: paths, messages, secrets, ports and waiting. Sourced by every script in this directory.
#
# Requires only bash, coreutils, sed, grep and util-linux: a minimal machine has no curl, ps, ss or openssl.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# These scripts write everything here, except cargo's target/ (and see postgres_home in postgres.sh).
DEV_DIR=$ROOT/.dev
TARGET_DIR=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-$ROOT/target}")
# Distinguishes clones on one machine that share a directory or a port range. test-next.sh runs a copy with the same path.
CLONE_ID=$(printf '%s' "$ROOT${HAMRO_CLONE_SUFFIX:-}" | sha256sum | cut -c1-12)
# shellcheck disable=SC2034 # used by the scripts that source this file
readonly ROOT DEV_DIR CLONE_ID TARGET_DIR

if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' RESET=$'\e[0m'
else
    BOLD='' DIM='' RED='' RESET=''
fi

say() { printf '%s\n' "${BOLD}==>${RESET} $*"; }

warn() { printf '%s\n' "${RED}warning:${RESET} $*" >&2; }

die() {
    printf '%s\n' "${RED}error:${RESET} $1" >&2
    shift
    # Further arguments are hints for the user, one per line.
    (($# == 0)) || printf '       %s\n' "$@" >&2
    exit 1
}

# Runs COMMAND, and prints TITLE before and the duration after.
step() { # TITLE COMMAND…
    local title=$1 began=$SECONDS
    shift
    say "$title"
    "$@"
    say "$title: done in $((SECONDS - began)) s"
}

die_with_log() { # LOG MESSAGE
    printf '%s\n' "${DIM}--- the end of $1${RESET}" >&2
    tail -n 20 "$1" >&2 || true
    die "$2" "The whole log: $1"
}

# rustup adds itself to the PATH of login shells only.
find_cargo() {
    if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/cargo ]]; then
        PATH=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH
        export PATH
    fi
    command -v cargo >/dev/null || die "cargo is not on the PATH." "Install Rust (https://rustup.rs), then try again."
}

random_hex() { # BYTES
    head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

# Builds programs as released: `"${BUILD_RELEASE[@]}" --bin NAME…`. Every command selects the whole workspace, because cargo
# enables the features that the selected packages need: with another selection, it would compile the dependencies again.
# shellcheck disable=SC2034 # used by the scripts that source this file
readonly BUILD_RELEASE=(cargo build --release --locked --workspace)

# Prints the secret in FILE, which the first call generates. Only the owner can read it.
kept_secret() { # FILE BYTES
    if [[ ! -s $1 ]]; then
        (
            umask 077
            mkdir -p "$(dirname "$1")"
            random_hex "$2" >"$1.new"
            mv "$1.new" "$1"
        )
    fi
    cat "$1"
}

# Writes stdin to FILE, which only its owner can read, also if others could read an earlier one.
write_private() { # FILE
    (umask 077 && cat >"$1.new")
    mv "$1.new" "$1"
}

# Polls until COMMAND succeeds. Fails after SECONDS.
wait_until() { # SECONDS COMMAND…
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

port_is_open() { # PORT [ADDRESS]
    (exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null
}

# Prints the first port, starting at FIRST, on which nothing listens on the loopback interface.
next_free_port() { # FIRST
    local port
    for ((port = $1; port < $1 + 200 && port < 65536; port++)); do
        if ! port_is_open "$port"; then
            echo "$port"
            return
        fi
    done
    die "no free port between $1 and $port on 127.0.0.1."
}

is_port() {
    [[ $1 =~ ^[0-9]{1,5}$ ]] && ((10#$1 >= 1 && 10#$1 <= 65535))
}

# Prints the status of an HTTP response from the loopback interface. Fails if there is none.
http_status() { # PORT PATH
    local protocol status
    {
        exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
        printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$2" "$1" >&3
        read -r -t 2 protocol status _ <&3
        # Read to the end; otherwise the server's write fails.
        timeout 2 cat <&3 >/dev/null
        exec 3>&-
    } 2>/dev/null || return 1
    [[ $protocol == HTTP/* ]] && echo "${status//$'\r'/}"
}

# Prints the usable memory in MB: that of the machine, or the container's limit if it is lower.
memory_mb() {
    local total limit
    total=$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo) / 1024))
    limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
    if [[ $limit =~ ^[0-9]+$ ]] && ((limit / 1048576 < total)); then
        total=$((limit / 1048576))
    fi
    echo "$total"
}

free_disk_mb() { # DIRECTORY
    df --output=avail --block-size=1M "$1" | tail -n 1 | tr -d ' '
}

at_least() { (($1 > $2)) && echo "$1" || echo "$2"; }
at_most() { (($1 < $2)) && echo "$1" || echo "$2"; }
