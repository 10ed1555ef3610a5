# shellcheck shell=bash
# Installs what is missing on a Debian machine: `ensure_installed NEED…`, where a need is one of
# postgres, rabbitmq, linker, cxx, python, wrk. Sourced after common.sh.
#
# The packages of PostgreSQL and RabbitMQ start and enable a service of their own. Nobody asked for one: those are kept
# still, and the machine's settings are put back as they were. What is installed already is not touched at all.

readonly POLICY=/usr/sbin/policy-rc.d
readonly CLUSTER_SETTINGS=/etc/postgresql-common/createcluster.conf
readonly ASIDE=.before-hamro-concert

have() { # NEED
    case $1 in
        postgres) [[ -n $(postgres_versions) ]] || command -v initdb >/dev/null ;;
        rabbitmq) rabbitmq_server >/dev/null && command -v epmd >/dev/null ;;
        # A compiler without the C library's headers and start files cannot link.
        linker) printf 'int main(void){return 0;}' 2>/dev/null | cc -x c -o /dev/null - 2>/dev/null ;;
        cxx) command -v c++ >/dev/null ;;
        wrk) command -v wrk >/dev/null ;;
        python) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        *) die "install.sh does not know '$1'." ;;
    esac
}

packages_for() { # NEED
    case $1 in
        postgres) echo postgresql ;;
        rabbitmq) echo rabbitmq-server ;;
        linker) echo gcc libc6-dev ;;
        cxx) echo g++ ;;
        wrk) echo wrk ;;
        python) echo python3 python3-venv ;;
    esac
}

# The major versions that Debian's packages have brought, newest first.
postgres_versions() {
    local directory
    for directory in /usr/lib/postgresql/*/bin; do
        if [[ -x $directory/initdb ]]; then basename "$(dirname "$directory")"; fi
    done | sort --numeric-sort --reverse
}

# Debian's own /usr/sbin/rabbitmq-server insists on the user rabbitmq: take the script behind it.
rabbitmq_server() {
    if [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]]; then
        echo /usr/lib/rabbitmq/bin/rabbitmq-server
    else
        command -v rabbitmq-server
    fi
}

ensure_installed() { # NEED…
    local need packages=()
    for need in "$@"; do
        # shellcheck disable=SC2207 # package names have no spaces
        have "$need" || packages+=($(packages_for "$need"))
    done
    ((${#packages[@]} > 0)) || return 0

    if ! command -v apt-get >/dev/null; then
        die "missing: what Debian has in the packages ${packages[*]}." "Install the like of them, then try again."
    fi
    if ((EUID != 0)); then
        die "missing, and only root can install it: ${packages[*]}" \
            "As root: apt-get install ${packages[*]}" \
            "(The services that these packages start are not needed; the scripts here run their own.)"
    fi
    say "Installing ${packages[*]} (no service is enabled or started)"
    mkdir -p "$DEV_DIR"
    install_quietly "${packages[@]}" >"$DEV_DIR/install.log" 2>&1 ||
        die_with_log "$DEV_DIR/install.log" "the installation failed."
    for need in "$@"; do
        have "$need" || die "$(packages_for "$need") is installed, but '$need' still cannot be used."
    done
}

install_quietly() { # PACKAGE…
    # A subshell, so that its EXIT trap puts the machine's settings back whatever happens. It is called with `||` behind
    # it, where bash does not stop at errors by itself.
    (
        # Two clones, or two test runs, may come here at the same moment.
        exec 7>/run/hamro-concert-install.lock
        flock 7
        put_settings_back # from a run that was killed half-way
        trap put_settings_back EXIT

        keep_services_still
        export DEBIAN_FRONTEND=noninteractive
        # Where needrestart is installed it would restart services that are none of our business.
        export NEEDRESTART_SUSPEND=1
        # A source that cannot be reached must not stand in the way if the others have what is needed.
        apt_get update || true
        local enabled_before
        enabled_before=$(enabled_services)
        if [[ " $* " == *" postgresql "* ]]; then
            # Its scripts would set up a cluster on port 5432, and enable it. First the package that owns the setting.
            apt_get install postgresql-common || exit 1
            cp -p "$CLUSTER_SETTINGS" "$CLUSTER_SETTINGS$ASIDE"
            printf '\ncreate_main_cluster = false\n' >>"$CLUSTER_SETTINGS"
        fi
        apt_get install "$@" || exit 1
        disable_services_except "$enabled_before"
    ) </dev/null
}

apt_get() {
    apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" 7>&-
}

# invoke-rc.d asks this file before it starts anything (101: do not).
keep_services_still() {
    [[ ! -e $POLICY ]] || mv "$POLICY" "$POLICY$ASIDE"
    printf '#!/bin/sh\n# Written by hamro-concert for the time of one installation.\nexit 101\n' >"$POLICY"
    chmod 0755 "$POLICY"
}

# What starts with the machine: "unit NAME" and "script NAME". By name, since the numbers of init scripts change when
# another one comes in between.
enabled_services() {
    {
        find /etc/systemd/system -type l -path '*.wants/*' -printf 'unit %f\n'
        find /etc/rc[0-9S].d -type l -name 'S[0-9][0-9]*' -printf '%f\n' | sed 's/^S[0-9][0-9]/script /'
    } 2>/dev/null | sort -u
}

# Whoever wants one of the new services as the system's own later enables it with systemctl as ever.
disable_services_except() { # SERVICES
    local kind name
    while read -r kind name; do
        case $kind in
            # The helper of Debian's packages, which works whether systemd runs or not. It wants to be told a package.
            unit) DPKG_MAINTSCRIPT_PACKAGE=$name deb-systemd-helper disable "$name" ;;
            script) update-rc.d "$name" disable ;;
        esac
    done < <(comm -13 <(echo "$1") <(enabled_services))
}

put_settings_back() {
    if grep -qs 'Written by hamro-concert' "$POLICY"; then
        rm -f "$POLICY"
    fi
    if [[ -e $POLICY$ASIDE ]]; then
        mv "$POLICY$ASIDE" "$POLICY"
    fi
    if [[ -e $CLUSTER_SETTINGS$ASIDE ]]; then
        mv "$CLUSTER_SETTINGS$ASIDE" "$CLUSTER_SETTINGS"
    fi
}
