# shellcheck shell=bash
# A private PostgreSQL with its own data and port, only on 127.0.0.1, tuned to the machine's size. Sourced by stack.sh.
#
# It has no Unix socket: all clients connect over the loopback interface, and in a deep directory the socket's path
# could exceed the system's limit.
#
# A stack may have a second server, `standby`, which streams from the first one.

# The superuser only creates the application's role and database. The programs never log in as it.
readonly POSTGRES_SUPERUSER=hamro POSTGRES_ROLE=hamro_app POSTGRES_DATABASE=hamro

# The server that the functions below act on: postgres or standby. Also the name of its pid file and log.
POSTGRES_SERVER=postgres

# The server refuses to run as root.
as_postgres() {
    if ((EUID == 0)); then
        setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
    else
        "$@"
    fi
}

# Prints the parent of the data directory: in the stack's directory if user postgres can access it. A clone in /root
# (mode 0700), for example, is not accessible.
postgres_home() { # uses STACK_DIR, STACK_NAME
    if ((EUID == 0)) && ! (cd / && as_postgres test -x "$STACK_DIR"); then
        echo "/var/lib/hamro-concert/$CLONE_ID/$STACK_NAME/postgres"
    else
        echo "$STACK_DIR/postgres"
    fi
}

postgres_data() {
    if [[ $POSTGRES_SERVER == postgres ]]; then echo "$(postgres_home)/data"; else echo "$(postgres_home)/$POSTGRES_SERVER"; fi
}

# Prints the directory of the server's programs: of the version that wrote the data if it exists, otherwise the newest.
postgres_bin() { # DATA
    local version newest
    newest=$(postgres_versions | head -n 1)
    if [[ -z $newest ]]; then
        dirname "$(command -v initdb)"
        return
    fi
    version=$(cat "$1/PG_VERSION" 2>/dev/null || echo "$newest")
    [[ -x /usr/lib/postgresql/$version/bin/postgres ]] ||
        die "the data in $1 requires PostgreSQL $version, which is not installed." \
            "Install postgresql-$version, or delete the data with \`make reset\`."
    echo "/usr/lib/postgresql/$version/bin"
}

# Starts the server without waiting for it: see postgres_wait.
postgres_start() { # PORT
    local home data bin
    ((EUID != 0)) || id postgres >/dev/null 2>&1 ||
        die "PostgreSQL refuses to run as root, and there is no user postgres." "Add that user, or run as another user."
    home=$(postgres_home)
    data=$home/data
    bin=$(postgres_bin "$data")
    POSTGRES_PASSWORD=$(kept_secret "$STACK_DIR/secrets/postgres-password" 16) # of the superuser
    [[ -f $data/PG_VERSION ]] || postgres_initialise "$home" "$bin"
    # Rewritten at every start: the machine, the free disk space and the port may have changed.
    postgres_settings "$1" "$home" "$bin" | as_postgres tee "$data/postgresql.conf" >/dev/null
    printf 'host %s all 127.0.0.1/32 scram-sha-256\n' all replication | as_postgres tee "$data/pg_hba.conf" >/dev/null
    begin_log "$STACK_DIR/logs/postgres.log"
    postgres_run
}

# Copies the running server and starts the copy as its standby, without waiting for it.
postgres_start_standby() { # PORT PRIMARY_PORT
    local home bin connection
    home=$(postgres_home)
    bin=$(postgres_bin "$home/data")
    connection="host=127.0.0.1 port=$2 user=$POSTGRES_SUPERUSER password=$POSTGRES_PASSWORD application_name=standby"
    (
        cd / # the programs read the working directory, which user postgres may be unable to read
        as_postgres env PGPASSWORD="$POSTGRES_PASSWORD" "$bin/pg_basebackup" --host=127.0.0.1 --port="$2" \
            --username="$POSTGRES_SUPERUSER" --checkpoint=fast --pgdata="$home/standby" \
            >"$STACK_DIR/logs/basebackup.log" 2>&1 ||
            die_with_log "$STACK_DIR/logs/basebackup.log" "pg_basebackup failed."
        {
            postgres_settings "$1" "$home" "$bin"
            echo "primary_conninfo = '$connection'"
        } | as_postgres tee "$home/standby/postgresql.conf" >/dev/null
        as_postgres touch "$home/standby/standby.signal"
    )
    begin_log "$STACK_DIR/logs/standby.log"
    POSTGRES_SERVER=standby postgres_run
}

# Restarts the server with the settings of its last start.
postgres_run() {
    local data bin pid_file=$STACK_DIR/pids/$POSTGRES_SERVER log=$STACK_DIR/logs/$POSTGRES_SERVER.log
    data=$(postgres_data)
    bin=$(postgres_bin "$data")
    postgres_kill_orphans "$data" "$bin"
    if ((EUID == 0)); then
        start_detached "$pid_file" "$log" setpriv --reuid=postgres --regid=postgres --init-groups -- "$bin/postgres" -D "$data"
    else
        start_detached "$pid_file" "$log" "$bin/postgres" -D "$data"
    fi
}

# Kills the backends of a server that was killed. They hold its shared memory, which prevents the next start, and a busy
# backend does not notice that its server has died.
postgres_kill_orphans() { # DATA BIN
    wait_until 10 postgres_orphans_are_gone "$1" "$2" ||
        warn "processes of a killed PostgreSQL are still running; the next one may not start."
}

# Kills all orphans, and succeeds if there were none.
# shellcheck disable=SC2329 # called by wait_until
postgres_orphans_are_gone() { # DATA BIN
    local process found=
    # Each backend has its own session, but all use the data directory as their working directory.
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
    # Remove the remains of an interrupted attempt.
    rm -rf "$1/data" "$1/initdb"
    (
        cd / # initdb reads the working directory, which user postgres may be unable to read
        as_postgres mkdir -m 0700 "$1/initdb"
        printf '%s' "$POSTGRES_PASSWORD" | (umask 077 && as_postgres tee "$1/initdb/password" >/dev/null)
        # Initialise under another name, so that a directory named "data" is always complete.
        as_postgres "$2/initdb" --pgdata="$1/initdb/data" --username="$POSTGRES_SUPERUSER" \
            --pwfile="$1/initdb/password" --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 \
            >"$STACK_DIR/logs/initdb.log" 2>&1 || die_with_log "$STACK_DIR/logs/initdb.log" "initdb failed."
        as_postgres mv "$1/initdb/data" "$1/data"
        as_postgres rm -r "$1/initdb"
    )
}

# PostgreSQL's defaults suit a small machine. Comments in the output give the reason for each value.
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
# Lock waits dominate when many buyers want the same seats.
log_lock_waits = on
# The details of an error quote rows: ticket ids, names, e-mail addresses.
log_error_verbosity = terse
# Short transactions pay for JIT compilation without a benefit.
jit = off
track_io_timing = on
SETTINGS
    if [[ -e $3/../lib/pg_stat_statements.so ]]; then
        echo "shared_preload_libraries = 'pg_stat_statements'"
    fi

    if [[ -n $STACK_THROWAWAY ]]; then
        cat <<SETTINGS
# The data is only needed during one test run, so it need not survive a crash of the machine.
# (A killed server still recovers, because the kernel has its writes.)
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
# Full durability. These are the defaults, stated explicitly.
fsync = on
synchronous_commit = on
full_page_writes = on
# A sixth of the memory: RabbitMQ, the application and the kernel's cache need memory too. More than 2 GB did not help.
shared_buffers = $(at_least 128 "$(at_most 2048 $((memory / 6)))")MB
effective_cache_size = $(at_least 256 $((memory / 2)))MB
maintenance_work_mem = $(at_least 64 "$(at_most 512 $((memory / 32)))")MB
work_mem = 16MB
# Full-page writes after a checkpoint are the second most expensive part of a batch: use few checkpoints and compress
# pages. At most 8 GB and a quarter of the free disk, because the WAL may grow to this size.
max_wal_size = $(at_least 512 "$(at_most 8192 $((disk / 4)))")MB
min_wal_size = $(at_least 256 "$(at_most 1024 $((disk / 16)))")MB
checkpoint_timeout = 15min
wal_compression = lz4
wal_buffers = 16MB
# For SSDs.
random_page_cost = 1.1
effective_io_concurrency = 100
max_worker_processes = $(at_least 8 "$cores")
max_parallel_workers = $cores
max_parallel_workers_per_gather = $(at_least 1 $((cores / 2)))
# Every batch updates the tiers' counters, so dead rows accumulate within seconds.
autovacuum_naptime = 10s
autovacuum_vacuum_cost_limit = 2000
SETTINGS
}

postgres_url() { # PORT
    echo "postgres://$POSTGRES_ROLE:$POSTGRES_ROLE_PASSWORD@127.0.0.1:$1/$POSTGRES_DATABASE"
}

# For what only a superuser may do to the server, such as changing its settings.
postgres_superuser_url() { # PORT
    echo "postgres://$POSTGRES_SUPERUSER:$POSTGRES_PASSWORD@127.0.0.1:$1/$POSTGRES_DATABASE"
}

postgres_wait() { # PORT
    local bin
    bin=$(postgres_bin "$(postgres_data)")
    # Recovery after a crash replays up to max_wal_size.
    wait_for_service PostgreSQL "$STACK_DIR/pids/$POSTGRES_SERVER" "$STACK_DIR/logs/$POSTGRES_SERVER.log" 300 \
        "$bin/pg_isready" --quiet --host=127.0.0.1 --port="$1"
}

# Creates the application's role and database.
postgres_create_role() { # PORT
    local psql
    psql=("$(postgres_bin "$(postgres_home)/data")/psql" --no-psqlrc --quiet --host=127.0.0.1 --port="$1"
        --username="$POSTGRES_SUPERUSER" --dbname=postgres)
    POSTGRES_ROLE_PASSWORD=$(kept_secret "$STACK_DIR/secrets/postgres-role-password" 16)
    PGPASSWORD=$POSTGRES_PASSWORD HAMRO_ROLE=$POSTGRES_ROLE HAMRO_PASSWORD=$POSTGRES_ROLE_PASSWORD \
        HAMRO_DATABASE=$POSTGRES_DATABASE "${psql[@]}" --file="$ROOT/deploy/postgres/application-role.sql"
    # Tests and benchmarks create their own databases, and drop them while autovacuum may be working in them.
    [[ $STACK_NAME == "$UP" ]] ||
        PGPASSWORD=$POSTGRES_PASSWORD "${psql[@]}" --command="ALTER ROLE $POSTGRES_ROLE CREATEDB" \
            --command="GRANT pg_signal_backend TO $POSTGRES_ROLE"
}

# SIGINT is the "fast" shutdown: it rolls back open transactions and writes a checkpoint.
postgres_stop() {
    stop_processes INT 60 "$STACK_DIR/pids/$POSTGRES_SERVER"
}

postgres_wipe() {
    rm -rf "$STACK_DIR/postgres" "/var/lib/hamro-concert/$CLONE_ID/$STACK_NAME"
    if [[ -d /var/lib/hamro-concert/$CLONE_ID ]]; then
        (cd /var/lib && rmdir -p --ignore-fail-on-non-empty "hamro-concert/$CLONE_ID")
    fi
}
