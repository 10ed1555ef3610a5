# shellcheck shell=bash
# Root directories of a Debian release, made with debootstrap from the host's mirror. Sourced after common.sh.
#
# in-root.sh runs commands in them. The host's settings for networks, certificates and package registries are only mounted
# there (see host_settings), so that a directory contains no copy of them, except of apt's mirror and proxy.

# Ends the script if this machine cannot make a root directory or run a command in it.
require_roots() { # COMMAND
    ((EUID == 0)) || die "only root can install another Debian and enter it." "As root, run: $1"
    unshare --mount --pid --ipc --fork -- mount -t tmpfs tmpfs /mnt 2>/dev/null ||
        die "this machine does not allow mounts in a namespace." "In a container, that needs --privileged."
}

# Installs a minimal Debian into DIRECTORY, which is empty or does not exist. Errors need an explicit return: the callers
# use `||`, which disables `set -e` here.
make_debian_root() { # SUITE DIRECTORY PACKAGE…
    local suite=$1 directory=$2 mirror packages
    shift 2
    packages=$(IFS=, && echo "$*")
    mirror=$(host_mirror main)
    # debootstrap knows only this variable.
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
    # It mounts /proc. In a namespace, nothing stays mounted if it is killed.
    http_proxy=${http_proxy:-} unshare --mount -- debootstrap --variant=minbase ${packages:+--include="$packages"} \
        "$suite" "$directory" ${mirror:+"$mirror"} </dev/null || return
    apt_sources "$suite" "$directory" >"$directory/etc/apt/sources.list.d/debian.sources"
    rm -f "$directory/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(https?|Retries)' >"$directory/etc/apt/apt.conf.d/90host" || true
    rm -rf "$directory"/var/cache/apt/archives/*.deb
}

# Prints the address of the mirror from which this host takes its release or that release's security updates. Prints
# nothing on a host that is not Debian: debootstrap has a default.
host_mirror() { # main|security
    local codename suffix=
    codename=$(. /etc/os-release && [[ $ID == debian ]] && echo "$VERSION_CODENAME") || return 0
    [[ $1 == main ]] || suffix=-security
    # shellcheck disable=SC2016 # apt-get expands them
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        sed -n "s/^$codename$suffix //p" | head -n 1
}

apt_sources() { # SUITE DIRECTORY
    local main security
    main=$(host_mirror main)
    security=$(host_mirror security)
    # debootstrap has written its default mirror.
    [[ -n $main ]] || main=$(sed -n 's/^deb \([^ ]*\) .*/\1/p' "$2/etc/apt/sources.list" | head -n 1)
    printf 'Types: deb\nURIs: %s\nSuites: %s %s-updates\nComponents: main\n' "$main" "$1" "$1"
    printf 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n'
    [[ -n $security ]] || return 0
    printf '\nTypes: deb\nURIs: %s\nSuites: %s-security\nComponents: main\n' "$security" "$1"
    printf 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n'
}

# Prints the files by which this host reaches networks and registries: name resolution, certificates, and the
# configuration of pip and npm. cargo's is in its home directory. The environment has the rest.
host_settings() {
    local file
    for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt \
        "${SSL_CERT_FILE:-}" "${PIP_CERT:-}" "${REQUESTS_CA_BUNDLE:-}" "${CURL_CA_BUNDLE:-}" "${NODE_EXTRA_CA_CERTS:-}" \
        /etc/pip.conf "${PIP_CONFIG_FILE:-}" "$HOME/.pip/pip.conf" "$HOME/.config/pip/pip.conf" \
        /etc/npmrc "${NPM_CONFIG_USERCONFIG:-}" "$HOME/.npmrc"; do
        if [[ -f $file ]]; then echo "$file"; fi
    done | sort -u
}
