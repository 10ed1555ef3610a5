# shellcheck shell=bash
# The fixture and the assertions of supervise-test.sh. Sourced after supervise.sh.
#
# cargo, hamro-api and hamro-worker are stubs, so that nothing needs to be built. PostgreSQL and RabbitMQ are real. HERE
# is the test's directory, and PORT is the port of its api.

prepare() { # DIRECTORY
    rm -rf "$1"
    mkdir -p "$1/deploy/dev" "$1/bin" "$1/target/release"
    cp "$ROOT"/deploy/dev/*.sh "$1/deploy/dev"
    cp -r "$ROOT/deploy/postgres" "$ROOT/deploy/prometheus" "$1/deploy"
    printf '#!/usr/bin/env bash\n' >"$1/bin/cargo"
    cat >"$1/target/release/hamro-api" <<'API'
#!/usr/bin/env node
if (require('fs').existsSync('api-ignores-SIGTERM')) process.on('SIGTERM', () => console.log('ignored'));
require('http').createServer((_, response) => response.end('ready')).listen(process.env.PORT, '127.0.0.1');
API
    cat >"$1/target/release/hamro-worker" <<'WORKER'
#!/usr/bin/env bash
echo "process $$ starts, port ${WORKER_HTTP_PORT:-none}"
if [[ -e worker-fails ]]; then echo "the final output of $$"; exit 3; fi
echo "consuming from bookings.intake"
exec sleep infinity
WORKER
    chmod +x "$1"/bin/* "$1"/target/release/*
}

# Starts up.sh as a terminal would, and waits until its programs run. Adds NAME=VALUE… to its environment.
start_up() { # NAME=VALUE…
    run_up "$@"
    wait_until 60 says "Hamro Concert is running" || fail "up.sh did not start."
    wait_until 60 all_run worker-1 || fail "the worker did not start."
    wait_until 60 logged worker-1 "consuming from" || fail "the worker is not ready."
}

run_up() { # NAME=VALUE…
    local unset=(ADMIN_TOKEN TICKET_KEYS PROMETHEUS WORKER_HTTP_PORT
        HAMRO_POSTGRES_PORT HAMRO_AMQP_PORT HAMRO_RABBITMQ_DIST_PORT HAMRO_EPMD_PORT HAMRO_PROMETHEUS_PORT)
    PATH=$HERE/bin:$PATH setsid env --default-signal=INT,QUIT "${unset[@]/#/--unset=}" CARGO_TARGET_DIR="$HERE/target" \
        DATABASE_URL=unused AMQP_URL=unused PORT="$PORT" WORKERS=2 RESTART_PAUSE_MS=100 "$@" \
        "$HERE/deploy/dev/up.sh" >"$HERE/up.log" 2>&1 &
    UP_PID=$!
}

fail() {
    echo "$*"
    exit 1
}

says() { grep -qF -- "$1" "$HERE/up.log"; }
logged() { grep -qF -- "$2" "$STACK_DIR/logs/$1.log"; }
pid_of() { running_pid "$STACK_DIR/pids/$1"; }
kill_now() { kill -s KILL "$(pid_of "$1")"; }
api_answers() { [[ $(http_status "$PORT" /) == 200 ]]; }

all_run() { # NAME…
    local name
    for name in "$@"; do pid_of "$name" >/dev/null || return 1; done
}

# PID is the process that was killed.
runs_as_new_process() { # NAME PID
    local pid
    pid=$(pid_of "$1") && [[ $pid != "$2" ]]
}

has_no_zombie() {
    local pid
    for pid in $(processes_of parent "$UP_PID"); do
        read_start_time "$pid" || return 1
    done
}

# All processes of up.sh, such as programs and timers, have this working directory.
nothing_runs() {
    local process
    for process in /proc/[0-9]*; do
        [[ ! $process/cwd -ef $HERE ]] || return 1
    done
}

ends_with() { # STATUS
    local status=0
    wait_until 60 is_gone "$UP_PID" || fail "up.sh did not end."
    wait "$UP_PID" || status=$?
    [[ $status == "$1" ]] || fail "up.sh ended with status $status instead of $1."
    wait_until 10 nothing_runs || fail "a process is still running."
    [[ -z $(find "$STACK_DIR/pids" -type f) ]] || fail "there is still a pid file."
}

is_gone() { ! read_start_time "$1"; }

has_run_for() { # NAME MS
    is_running "$STACK_DIR/pids/$1" || return 1
    read_now
    # The kernel counts in hundredths of a second.
    ((NOW - START_TIME * 10 > $2))
}

restarts_killed() { # NAME…
    local name pids=()
    for name in "$@"; do pids+=("$(pid_of "$name")"); done
    kill -s KILL "${pids[@]}"
    for name in "$@"; do
        wait_until 60 runs_as_new_process "$name" "${pids[0]}" || fail "$name was not restarted."
        pids=("${pids[@]:1}")
        says "$name ended (status 137, SIGKILL); restarting it in 0.1 s (attempt 1 of 5)." || fail "up.sh did not report the restart of $name."
    done
    wait_until 10 has_no_zombie || fail "up.sh left a zombie."
}
