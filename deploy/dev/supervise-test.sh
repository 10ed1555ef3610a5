#!/usr/bin/env bash
# Tests up.sh, down.sh and supervise.sh, as part of `make test`: `supervise-test.sh [TEST…]`.
#
# All tests run in parallel. Each uses its own directory, .dev/supervise-test/TEST, with a copy of the scripts, so that
# it affects neither a running `make up` nor the other tests; see supervise-fixture.sh. The directory is kept if the
# test fails.

# shellcheck source=deploy/dev/stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack.sh"
# shellcheck source=deploy/dev/supervise.sh
source "$(dirname "${BASH_SOURCE[0]}")/supervise.sh"
# shellcheck source=deploy/dev/supervise-fixture.sh
source "$(dirname "${BASH_SOURCE[0]}")/supervise-fixture.sh"
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

readonly TESTS_DIR=$DEV_DIR/supervise-test
# Different clones use different ports.
readonly FIRST_PORT=$((10000 + 100 * (0x${CLONE_ID:0:4} % 90)))
declare -A PROCESSES=()

main() {
    local test tests=("$@") failed=0
    ((${#tests[@]} > 0)) || mapfile -t tests < <(declare -F | sed -n 's/^declare -f test_//p')
    find_cargo
    ensure_tools node
    ensure_installed curl linker postgres prometheus rabbitmq
    mkdir -p "$TESTS_DIR"
    # User postgres needs access.
    chmod 0755 "$DEV_DIR" "$TESTS_DIR"

    trap stop_tests EXIT
    for test in "${tests[@]}"; do
        prepare "$TESTS_DIR/$test"
        PORT=$((FIRST_PORT + ${#PROCESSES[@]}))
        run_test "$test" >"$TESTS_DIR/$test/test.log" 2>&1 &
        PROCESSES[$test]=$!
    done
    for test in "${tests[@]}"; do
        if wait "${PROCESSES[$test]}"; then
            echo "ok      $test"
            rm -rf "${TESTS_DIR:?}/$test"
        else
            failed=$((failed + 1))
            echo "FAILED  $test"
            sed 's/^/        /' "$TESTS_DIR/$test/test.log" "$TESTS_DIR/$test/up.log"
        fi
    done
    ((failed == 0)) || die "$failed of ${#tests[@]} tests failed."
}

# shellcheck disable=SC2329 # called by a trap
stop_tests() {
    kill -s TERM "${PROCESSES[@]}" 2>/dev/null || true
    # Each test cleans up.
    wait
}

# Runs in a separate process.
run_test() { # TEST
    HERE=$TESTS_DIR/$1
    STACK_DIR=$HERE/.dev/up
    trap clean_up EXIT
    "test_$1"
}

# shellcheck disable=SC2329 # called by a trap
clean_up() {
    # stack.sh stores the data elsewhere if user postgres cannot access this directory.
    "$HERE/deploy/dev/down.sh" && "$HERE/deploy/dev/reset.sh"
    [[ -z ${PORT_TAKER:-} ]] || kill -s KILL "$PORT_TAKER"
}

test_killed_workers_are_restarted_and_keep_their_logs() {
    local api first
    start_up
    api=$(pid_of api) first=$(pid_of worker-1)
    restarts_killed worker-1 worker-2
    wait_until 60 logged worker-1 "process $(pid_of worker-1) starts" || fail "the new process has no log."
    logged worker-1 "process $first starts" || fail "the log of the process that died is lost."
    [[ $(pid_of api) == "$api" ]] || fail "the api was restarted too."
    kill -s TERM "$UP_PID"
    ends_with 0
}

test_a_killed_api_is_restarted_without_any_worker() {
    run_up WORKERS=0
    wait_until 60 says "Hamro Concert is running" || fail "up.sh did not start."
    restarts_killed api
    wait_until 60 api_answers || fail "the api does not answer."
    kill -s INT "$UP_PID"
    ends_with 0
}

test_a_program_that_dies_again_and_again_is_given_up_after_growing_pauses() {
    start_up RESTART_PAUSE_MAX_MS=500
    touch "$HERE/worker-fails"
    kill_now worker-1
    ends_with 1
    says "restarting it in 0.1 s (attempt 1 of 5)" || fail "attempt 1"
    says "worker-1 ended (status 3); restarting it in 0.2 s (attempt 2 of 5)" || fail "attempt 2"
    says "restarting it in 0.4 s (attempt 3 of 5)" || fail "attempt 3"
    says "restarting it in 0.5 s (attempt 5 of 5)" || fail "attempt 5"
    says "worker-1 ended within 10 s of each of its last 5 restarts (status 3)." || fail "no reason"
    [[ $(sed -n '/--- the end of/,$p' "$HERE/up.log") == *"the final output of"* ]] || fail "no end of the log"
}

test_a_program_that_has_run_for_a_while_starts_over_with_the_first_pause() {
    local killed
    start_up RESTART_STEADY_MS=1000
    restarts_killed worker-1
    wait_until 60 has_run_for worker-1 1100
    killed=$(pid_of worker-1)
    kill_now worker-1
    wait_until 60 runs_as_new_process worker-1 "$killed" || fail "the worker was not restarted."
    ! says "attempt 2" || fail "the attempts were not reset."
}

test_an_api_whose_port_was_taken_meanwhile_is_given_up() {
    start_up RESTART_PAUSE_MS=300 RESTART_PAUSE_MAX_MS=300
    # shellcheck disable=SC2016 # JavaScript
    node -e 'const { createServer } = require("net");
        const again = () => { console.log("tries"); setTimeout(take, 1); };
        const take = () => createServer().on("error", again).listen(+process.argv[1], "127.0.0.1");
        take();' "$PORT" >"$HERE/port-taker.log" &
    PORT_TAKER=$!
    wait_until 60 grep -q "tries" "$HERE/port-taker.log" || fail "the other process does not try to take the port."
    kill_now api
    ends_with 1
    says "attempt 5 of 5" || fail "there were not five attempts."
    [[ $(sed -n '/--- the end of/,$p' "$HERE/up.log") == *EADDRINUSE* ]] || fail "the cause is not shown."
}

test_a_worker_that_ends_before_it_was_ready_is_an_error_at_once() {
    touch "$HERE/worker-fails"
    run_up
    ends_with 1
    says "ended before it was ready (status 3)." || fail "no reason"
    says "the final output of" || fail "the end of the log is missing."
    ! says "restarting" || fail "it was restarted."
}

test_an_interrupt_during_a_pause_stops_at_once() {
    start_up RESTART_PAUSE_MS=3600000 RESTART_PAUSE_MAX_MS=3600000
    kill_now worker-1
    wait_until 60 says "restarting it in 3600 s" || fail "no pause"
    kill -s INT "$UP_PID"
    ends_with 0
}

test_make_down_during_a_pause_stops_at_once() {
    start_up RESTART_PAUSE_MS=3600000 RESTART_PAUSE_MAX_MS=3600000
    kill_now api
    wait_until 60 says "restarting it in 3600 s" || fail "no pause"
    [[ $("$HERE/deploy/dev/down.sh") == *"Nothing is running." ]] || fail "make down does not report that nothing is running."
    ends_with 0
}

test_a_second_interrupt_stops_at_once_and_nothing_is_restarted_meanwhile() {
    touch "$HERE/api-ignores-SIGTERM"
    start_up
    kill -s INT "$UP_PID"
    wait_until 60 logged api "ignored" || fail "the api was not asked to stop."
    wait_until 60 is_stopped "$STACK_DIR/pids/worker-1" || fail "the worker does not stop."
    all_run api || fail "the api was killed."
    kill -s INT "$UP_PID"
    ends_with 0
    ! says "restarting" || fail "a program was restarted."
}

test_a_killed_script_leaves_nothing_that_make_down_cannot_stop() {
    start_up RESTART_PAUSE_MS=3600000 RESTART_PAUSE_MAX_MS=3600000
    kill_now worker-1
    wait_until 60 says "restarting it in 3600 s" || fail "no pause"
    kill -s KILL "$UP_PID"
    wait_until 10 is_gone "$UP_PID"
    [[ $("$HERE/deploy/dev/down.sh") == *"Nothing is running." ]] || fail "make down does not report that nothing is running."
    ends_with 137
    start_up
    kill -s TERM "$UP_PID"
    ends_with 0
}

test_killed_services_are_restarted_at_their_addresses_with_their_data() {
    local psql amqp_port
    start_up DATABASE_URL= AMQP_URL=
    # shellcheck source=/dev/null
    source "$STACK_DIR/env"
    psql=("$(postgres_bin none)/psql" --no-psqlrc --quiet --tuples-only --no-align "$DATABASE_URL" --command)
    "${psql[@]}" "CREATE TABLE kept AS SELECT 42 AS answer"
    # A busy backend does not notice that its server has died.
    "${psql[@]}" "DO 'BEGIN LOOP END LOOP; END'" &
    wait_until 60 backend_is_busy || fail "the backend is not busy."

    restarts_killed postgres epmd rabbitmq
    wait_until 60 kept_answer || fail "PostgreSQL does not have its data."
    amqp_port=$(cat "$STACK_DIR/ports/amqp")
    wait_until 60 port_is_open "$amqp_port" || fail "RabbitMQ is not ready."
    kill -s INT "$UP_PID"
    ends_with 0
}

backend_is_busy() { # uses psql
    [[ $("${psql[@]}" "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO%' AND state = 'active'") == 1 ]]
}

kept_answer() { # uses psql
    [[ $("${psql[@]}" "SELECT answer FROM kept" 2>/dev/null) == 42 ]]
}

test_prometheus_reads_every_program_on_a_port_of_its_own_and_is_restarted_with_its_data() {
    local port
    start_up PROMETHEUS=1
    port=$(cat "$STACK_DIR/ports/prometheus")
    says "http://127.0.0.1:$port/alerts" || fail "up.sh does not say where Prometheus is."
    wait_until 60 prometheus_reads_all "$port" || fail "Prometheus does not read every program: $(scraped "$port")"
    ! grep -q "level=error" "$STACK_DIR/logs/prometheus.log" || fail "Prometheus reports an error."
    (($(ask_prometheus "$port" rules | grep -o '"type":"alerting"' | wc -l) > 20)) || fail "Prometheus has no alert rules."

    restarts_killed prometheus
    wait_until 60 prometheus_reads_all "$port" || fail "Prometheus does not answer at its address after its restart."
    kill -s TERM "$UP_PID"
    ends_with 0
    # Its port and data stay; a start without it starts none.
    [[ -d $STACK_DIR/prometheus/data/wal ]] || fail "Prometheus has no data in the directory of the stack."
    start_up
    ! pid_of prometheus >/dev/null || fail "Prometheus was started without being asked for."
    kill -s TERM "$UP_PID"
    ends_with 0
}

# The stubs have no metrics, but Prometheus knows their addresses.
prometheus_reads_all() { # PORT
    [[ $(scraped "$1") == "$(printf 'http://127.0.0.1:%s/metrics\n' "$PORT" "$(worker_port 1)" "$(worker_port 2)" | sort)" ]]
}

scraped() { # PORT
    ask_prometheus "$1" targets | grep -o '"scrapeUrl":"[^"]*"' | cut -d'"' -f4 | sort
}

ask_prometheus() { # PORT WHAT
    curl --silent --noproxy '*' "http://127.0.0.1:$1/api/v1/$2"
}

worker_port() { # NUMBER
    sed -n 's/^process [0-9]* starts, port //p' "$STACK_DIR/logs/worker-$1.log" | tail -n 1
}

test_the_application_owns_its_database_and_has_no_rights_beyond_it() {
    local psql superuser port token
    start_up DATABASE_URL= AMQP_URL=
    token=$(cat "$STACK_DIR/secrets/admin-token")
    says "secrets/admin-token" || fail "up.sh does not say where the admin token is."
    ! says "$token" || fail "up.sh wrote the admin token to a file."

    # shellcheck source=/dev/null
    source "$STACK_DIR/env"
    port=$(cat "$STACK_DIR/ports/postgres")
    psql=("$(postgres_bin none)/psql" --no-psqlrc --quiet --tuples-only --no-align)
    superuser=$(POSTGRES_PASSWORD=$(cat "$STACK_DIR/secrets/postgres-password") postgres_superuser_url "$port")
    role_is_limited || fail "the application's role has rights beyond its database."
    "$STACK_DIR/rabbitmqctl" --quiet list_users | grep -qxF $'hamro\t[]' || fail "the broker's user has tags."

    # An earlier installation has created everything as the superuser.
    "${psql[@]}" "$superuser" --command "CREATE TABLE earlier (id bigint GENERATED BY DEFAULT AS IDENTITY)" \
        --command "CREATE FUNCTION earlier() RETURNS integer LANGUAGE sql AS 'SELECT 1'" \
        --command "ALTER SCHEMA public OWNER TO hamro" --command "ALTER DATABASE hamro OWNER TO hamro"
    kill -s INT "$UP_PID"
    ends_with 0
    rm "$STACK_DIR/rabbitmq/user-is-no-administrator"
    start_up DATABASE_URL= AMQP_URL=
    "${psql[@]}" "$DATABASE_URL" --command "ALTER TABLE earlier ADD added integer" \
        --command "INSERT INTO earlier DEFAULT VALUES" --command "DROP FUNCTION earlier()" \
        --command "CREATE TABLE later ()" || fail "the application does not own what was there before."
    role_is_limited || fail "the application's role has rights beyond its database."
    [[ -e $STACK_DIR/rabbitmq/user-is-no-administrator ]] || fail "the broker's user was not demoted."
    kill -s INT "$UP_PID"
    ends_with 0
}

role_is_limited() { # uses psql, DATABASE_URL
    [[ $("${psql[@]}" "$DATABASE_URL" --command "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication \
        OR rolbypassrls FROM pg_roles WHERE rolname = current_user") == f ]]
}

# When is_running used a `$(…)`, most signals were lost or aborted the EXIT trap.
test_a_signal_reaches_a_script_that_polls() {
    local round victim
    for ((round = 1; round <= 10; round++)); do
        : >"$HERE/up.log"
        # shellcheck disable=SC2016 # expanded by the victim
        bash -c 'source "$1/deploy/dev/common.sh"
            source "$1/deploy/dev/processes.sh"
            finish() {
                trap "STOP_NOW=yes" TERM
                echo "stopping"
                until stopped_or_stop_now "$1/pid"; do :; done
                echo "stopped"
            }
            trap "finish $1" EXIT
            trap "exit 0" TERM
            record_process "$1/pid" $$
            echo "polling"
            while is_running "$1/pid"; do :; done' victim "$HERE" >"$HERE/up.log" 2>&1 &
        victim=$!
        wait_until 60 says "polling" || fail "the victim did not start."
        kill -s TERM "$victim"
        wait_until 10 says "stopping" || kill -s KILL "$victim"
        kill -s TERM "$victim" 2>/dev/null || true
        wait "$victim" || fail "a signal was lost in round $round."
        says "stopped" || fail "the EXIT trap was aborted in round $round."
    done
}

main "$@"
