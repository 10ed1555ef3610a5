# shellcheck shell=bash
# A private PostgreSQL: own data, own port, only on 127.0.0.1, settings from the machine's size. Sourced by stack.sh.
#
# There is no unix socket: everything connects over the loopback interface, and the path of a socket in a deep
# directory would be longer than the system allows.

readonly POSTGRES_USER=hamro POSTGRES_DATABASE=hamro

# The server refuses to run as root.
as_postgres() {
    if ((EUID == 0)); then
        setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
    else
        "$@"
    fi
}

# Beside the rest of the stack if user postgres can get there; a clone in /root (mode 0700) is out of its reach.
postgres_home() { # uses STACK_DIR, STACK_NAME
    if ((EUID == 0)) && ! (cd / && as_postgres test -x "$STACK_DIR"); then
        echo "/var/lib/hamro-concert/$CLONE_ID/$STACK_NAME/postgres"
    else
        echo "$STACK_DIR/postgres"
    fi
}

# The directory of the server's programs: of the version that wrote the data, if there are data already.
postgres_bin() { # DATA
    local version newest
    newest=$(postgres_versions | head -n 1)
    if [[ -z $newest ]]; then
        dirname "$(command -v initdb)"
        return
    fi
    version=$(cat "$1/PG_VERSION" 2>/dev/null || echo "$newest")
    [[ -x /usr/lib/postgresql/$version/bin/postgres ]] ||
        die "the data in $1 belong to PostgreSQL $version, which is not installed." \
            "Install postgresql-$version, or wipe the data with \`make reset\`."
    echo "/usr/lib/postgresql/$version/bin"
}

# Starts the server without waiting for it: see postgres_wait.
postgres_start() { # PORT
    local home data bin
    ((EUID != 0)) || id postgres >/dev/null 2>&1 ||
        die "PostgreSQL refuses to run as root, and there is no user postgres." "Add one, or become another user."
    home=$(postgres_home)
    data=$home/data
    bin=$(postgres_bin "$data")
    POSTGRES_PASSWORD=$(kept_secret "$STACK_DIR/secrets/postgres-password" 16)
    [[ -f $data/PG_VERSION ]] || postgres_initialise "$home" "$bin"
    # Written anew at every start: the machine, the free disk and the port may have changed.
    postgres_settings "$1" "$home" "$bin" | as_postgres tee "$data/postgresql.conf" >/dev/null
    echo "host all all 127.0.0.1/32 scram-sha-256" | as_postgres tee "$data/pg_hba.conf" >/dev/null
    begin_log "$STACK_DIR/logs/postgres.log"
    postgres_run
}

# Starts a server that has been started before, with the same settings.
postgres_run() {
    local data bin
    data=$(postgres_home)/data
    bin=$(postgres_bin "$data")
    postgres_end_orphans "$data" "$bin"
    if ((EUID == 0)); then
        start_detached "$STACK_DIR/pids/postgres" "$STACK_DIR/logs/postgres.log" \
            setpriv --reuid=postgres --regid=postgres --init-groups -- "$bin/postgres" -D "$data"
    else
        start_detached "$STACK_DIR/pids/postgres" "$STACK_DIR/logs/postgres.log" "$bin/postgres" -D "$data"
    fi
}

# Ends the backends of a server that was killed. They hold on to its shared memory, which keeps the next server from
# starting, and a backend that computes does not notice that its server has died.
postgres_end_orphans() { # DATA BIN
    wait_until 10 postgres_orphans_are_gone "$1" "$2" ||
        warn "processes of a killed PostgreSQL are still there; the next one may not start."
}

# Kills those it finds.
# shellcheck disable=SC2329 # called by wait_until
postgres_orphans_are_gone() { # DATA BIN
    local process found=
    # Each backend leads a session of its own, but all of them work in the data directory.
    for process in /proc/[0-9]*; do
        if [[ $process/cwd -ef $1 && $process/exe -ef $2/postgres ]]; then
            kill -s KILL "${process##*/}" 2>/dev/null || true
            found=yes
        fi
    done
    [[ -z $found ]]
}

postgres_initialise() { # HOME BIN
    mkdir -p "$1"
    if ((EUID == 0)); then
        chmod 0755 "$(dirname "$1")"
        chown postgres: "$1"
    fi
    # What an interrupted attempt has left.
    rm -rf "$1/data" "$1/initdb"
    (
        cd / # initdb looks at the working directory, which user postgres may not read
        as_postgres mkdir -m 0700 "$1/initdb"
        printf '%s' "$POSTGRES_PASSWORD" | as_postgres tee "$1/initdb/password" >/dev/null
        # Under another name first: a directory called "data" is a complete one.
        as_postgres "$2/initdb" --pgdata="$1/initdb/data" --username="$POSTGRES_USER" \
            --pwfile="$1/initdb/password" --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 \
            >"$STACK_DIR/logs/initdb.log" 2>&1 || die_with_log "$STACK_DIR/logs/initdb.log" "initdb failed."
        as_postgres mv "$1/initdb/data" "$1/data"
        as_postgres rm -r "$1/initdb"
    )
}

# DESIGN, decision 17: the defaults are for a small machine. What each number rests on stands beside it.
postgres_settings() { # PORT HOME BIN
    local memory disk cores
    cores=$(nproc)
    cat <<SETTINGS
listen_addresses = '127.0.0.1'
port = $1
unix_socket_directories = ''
max_connections = 200
password_encryption = scram-sha-256
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
# Waits for locks are what a rush for seats is made of.
log_lock_waits = on
# Short transactions gain nothing from compiled plans, and pay for them.
jit = off
track_io_timing = on
SETTINGS
    if [[ -e $3/../lib/pg_stat_statements.so ]]; then
        echo "shared_preload_libraries = 'pg_stat_statements'"
    fi

    if [[ -n $STACK_THROWAWAY ]]; then
        cat <<SETTINGS
# These data live as long as one test run: nothing has to survive a crash of the machine.
# (A killed server still recovers: what it has written is in the kernel's hands.)
fsync = off
synchronous_commit = on
full_page_writes = off
shared_buffers = 256MB
max_wal_size = 2GB
SETTINGS
        return
    fi

    memory=$(memory_mb)
    disk=$(free_disk_mb "$2")
    cat <<SETTINGS
# Durability is not for sale: these are the defaults, written down so that nobody has to guess.
fsync = on
synchronous_commit = on
full_page_writes = on
# A sixth of the memory: RabbitMQ, the application and the kernel's cache live here too. More than 2 GB gained nothing.
shared_buffers = $(at_least 128 "$(at_most 2048 $((memory / 6)))")MB
effective_cache_size = $(at_least 256 $((memory / 2)))MB
maintenance_work_mem = $(at_least 64 "$(at_most 512 $((memory / 32)))")MB
work_mem = 16MB
# Full pages after a checkpoint are the second dearest part of a batch: few checkpoints, and compressed pages.
# 8 GB as far as the disk allows, since the log may fill up to that size.
max_wal_size = $(at_least 512 "$(at_most 8192 $((disk / 4)))")MB
min_wal_size = $(at_least 256 "$(at_most 1024 $((disk / 16)))")MB
checkpoint_timeout = 15min
wal_compression = lz4
wal_buffers = 16MB
# Any disk that is bought today.
random_page_cost = 1.1
effective_io_concurrency = 100
max_worker_processes = $(at_least 8 "$cores")
max_parallel_workers = $cores
max_parallel_workers_per_gather = $(at_least 1 $((cores / 2)))
# The tiers' counters are updated in every batch: dead rows pile up within seconds.
autovacuum_naptime = 10s
autovacuum_vacuum_cost_limit = 2000
SETTINGS
}

postgres_url() { # PORT
    echo "postgres://$POSTGRES_USER:$POSTGRES_PASSWORD@127.0.0.1:$1/$POSTGRES_DATABASE"
}

postgres_wait() { # PORT
    local bin
    bin=$(postgres_bin "$(postgres_home)/data")
    # Recovery after a crash replays up to max_wal_size.
    wait_for_service PostgreSQL "$STACK_DIR/pids/postgres" "$STACK_DIR/logs/postgres.log" 300 \
        "$bin/pg_isready" --quiet --host=127.0.0.1 --port="$1"
}

postgres_create_database() { # PORT
    local bin psql
    bin=$(postgres_bin "$(postgres_home)/data")
    psql=("$bin/psql" --no-psqlrc --quiet --tuples-only --no-align --host=127.0.0.1 --port="$1"
        --username="$POSTGRES_USER" --dbname=postgres)
    if [[ -z $(PGPASSWORD=$POSTGRES_PASSWORD "${psql[@]}" \
        --command="SELECT 1 FROM pg_database WHERE datname = '$POSTGRES_DATABASE'") ]]; then
        PGPASSWORD=$POSTGRES_PASSWORD "${psql[@]}" --command="CREATE DATABASE $POSTGRES_DATABASE"
    fi
}

# SIGINT is the "fast" shutdown: roll back, write a checkpoint, go.
postgres_stop() {
    stop_processes INT 60 "$STACK_DIR/pids/postgres"
}

postgres_wipe() {
    rm -rf "$STACK_DIR/postgres" "/var/lib/hamro-concert/$CLONE_ID/$STACK_NAME"
    if [[ -d /var/lib/hamro-concert/$CLONE_ID ]]; then
        (cd /var/lib && rmdir -p --ignore-fail-on-non-empty "hamro-concert/$CLONE_ID")
    fi
}
