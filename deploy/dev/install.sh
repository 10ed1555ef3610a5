# shellcheck shell=bash
# Installs missing packages on a Debian machine: `ensure_installed REQUIREMENT…`, where a requirement is one of
# postgres, rabbitmq, pgbouncer, linker, cxx, python, curl, ip, jq, wrk, caddy, nginx, prometheus (with promtool),
# debootstrap, buildah, chromium. Sourced after common.sh.
#
# The packages have these names in Debian 12 and 13.
#
# The packages of PostgreSQL, RabbitMQ, Caddy, nginx and Prometheus normally start and enable a service. The installation
# suppresses this and then restores the machine's settings. It does not touch packages that are already installed.

readonly POLICY=/usr/sbin/policy-rc.d
readonly CLUSTER_SETTINGS=/etc/postgresql-common/createcluster.conf
readonly BACKUP_SUFFIX=.before-hamro-concert

is_available() { # REQUIREMENT
    case $1 in
        postgres) [[ -n $(postgres_versions) ]] || command -v initdb >/dev/null ;;
        rabbitmq) rabbitmq_server >/dev/null && command -v epmd >/dev/null ;;
        pgbouncer) [[ -x /usr/sbin/pgbouncer ]] || command -v pgbouncer >/dev/null ;;
        # A compiler cannot link without the C library's headers and startup files.
        linker) printf 'int main(void){return 0;}' 2>/dev/null | cc -x c -o /dev/null - 2>/dev/null ;;
        cxx) command -v c++ >/dev/null ;;
        curl | ip | jq | wrk | caddy | buildah) command -v "$1" >/dev/null ;;
        # The booking page has text in Devanagari, for which browsers need a font.
        chromium) command -v chromium >/dev/null && [[ -n $(fc-list :lang=ne) ]] ;;
        debootstrap) [[ -x /usr/sbin/debootstrap ]] || command -v debootstrap >/dev/null ;;
        nginx) [[ -x /usr/sbin/nginx ]] || command -v nginx >/dev/null ;;
        prometheus) command -v prometheus >/dev/null && command -v promtool >/dev/null ;;
        python) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        *) die "unknown requirement '$1'." ;;
    esac
}

packages_for() { # REQUIREMENT
    case $1 in
        postgres) echo postgresql ;;
        rabbitmq) echo rabbitmq-server ;;
        pgbouncer) echo pgbouncer ;;
        chromium) echo chromium fontconfig fonts-dejavu-core fonts-lohit-deva ;;
        ip) echo iproute2 ;;
        linker) echo gcc libc6-dev ;;
        cxx) echo g++ ;;
        curl | jq | wrk | caddy | nginx | prometheus | debootstrap | buildah) echo "$1" ;;
        python) echo python3 python3-venv ;;
    esac
}

# Prints the major versions installed by Debian's packages, newest first.
postgres_versions() {
    local directory
    for directory in /usr/lib/postgresql/*/bin; do
        if [[ -x $directory/initdb ]]; then basename "$(dirname "$directory")"; fi
    done | sort --numeric-sort --reverse
}

# Debian's /usr/sbin/rabbitmq-server requires the user rabbitmq: use the script that it wraps.
rabbitmq_server() {
    if [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]]; then
        echo /usr/lib/rabbitmq/bin/rabbitmq-server
    else
        command -v rabbitmq-server
    fi
}

ensure_installed() { # REQUIREMENT…
    local requirement packages=()
    for requirement in "$@"; do
        # shellcheck disable=SC2207 # package names have no spaces
        is_available "$requirement" || packages+=($(packages_for "$requirement"))
    done
    ((${#packages[@]} > 0)) || return 0

    if ! command -v apt-get >/dev/null; then
        die "missing software; Debian's packages for it are: ${packages[*]}." "Install the equivalents, then try again."
    fi
    if ((EUID != 0)); then
        die "missing packages, which only root can install: ${packages[*]}" \
            "As root, run: apt-get install ${packages[*]}" \
            "(The services of these packages are not needed; these scripts run their own.)"
    fi
    say "Installing ${packages[*]} (no service is enabled or started)"
    mkdir -p "$DEV_DIR"
    install_quietly "${packages[@]}" >"$DEV_DIR/install.log" 2>&1 ||
        die_with_log "$DEV_DIR/install.log" "the installation failed."
    for requirement in "$@"; do
        is_available "$requirement" || die "$(packages_for "$requirement") is installed, but '$requirement' is still unavailable."
    done
}

install_quietly() { # PACKAGE…
    # The subshell's EXIT trap always restores the machine's settings. Errors need an explicit exit: the caller uses
    # `||`, which disables `set -e` here.
    (
        # Two clones or test runs may install at the same time.
        exec 7>/run/hamro-concert-install.lock
        flock 7
        restore_settings # left by a run that was killed
        trap restore_settings EXIT

        prevent_service_starts
        export DEBIAN_FRONTEND=noninteractive
        # Otherwise needrestart, if it is installed, would restart unrelated services.
        export NEEDRESTART_SUSPEND=1
        # Ignore unreachable package sources: the others may have the packages.
        apt_get update || true
        local enabled_before
        enabled_before=$(enabled_services)
        if [[ " $* " == *" postgresql "* ]]; then
            # The package's scripts would create and enable a cluster on port 5432. Install the package that owns the
            # setting first.
            apt_get install postgresql-common || exit 1
            cp -p "$CLUSTER_SETTINGS" "$CLUSTER_SETTINGS$BACKUP_SUFFIX"
            printf '\ncreate_main_cluster = false\n' >>"$CLUSTER_SETTINGS"
        fi
        apt_get install "$@" || exit 1
        disable_services_except "$enabled_before"
    ) </dev/null
}

apt_get() {
    apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" 7>&-
}

# invoke-rc.d runs this file before it starts a service; 101 forbids the start.
prevent_service_starts() {
    [[ ! -e $POLICY ]] || mv "$POLICY" "$POLICY$BACKUP_SUFFIX"
    printf '#!/bin/sh\n# Written by hamro-concert for the time of one installation.\nexit 101\n' >"$POLICY"
    chmod 0755 "$POLICY"
}

# Prints the services that start at boot, as "unit NAME" and "script NAME". Numbers of init scripts are omitted, because
# they change when other scripts are added.
enabled_services() {
    {
        find /etc/systemd/system -type l -path '*.wants/*' -printf 'unit %f\n'
        find /etc/rc[0-9S].d -type l -name 'S[0-9][0-9]*' -printf '%f\n' | sed 's/^S[0-9][0-9]/script /'
    } 2>/dev/null | sort -u
}

# Disables the services that were enabled since SERVICES was recorded. An administrator can enable them with systemctl
# later.
disable_services_except() { # SERVICES
    local kind name
    while read -r kind name; do
        case $kind in
            # The helper of Debian's packages works without a running systemd. It requires a package name.
            unit) DPKG_MAINTSCRIPT_PACKAGE=$name deb-systemd-helper disable "$name" ;;
            script) update-rc.d "$name" disable ;;
        esac
    done < <(comm -13 <(echo "$1") <(enabled_services))
}

restore_settings() {
    if grep -qs 'Written by hamro-concert' "$POLICY"; then
        rm -f "$POLICY"
    fi
    if [[ -e $POLICY$BACKUP_SUFFIX ]]; then
        mv "$POLICY$BACKUP_SUFFIX" "$POLICY"
    fi
    if [[ -e $CLUSTER_SETTINGS$BACKUP_SUFFIX ]]; then
        mv "$CLUSTER_SETTINGS$BACKUP_SUFFIX" "$CLUSTER_SETTINGS"
    fi
}
