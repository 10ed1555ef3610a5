#!/usr/bin/env bash
# Measures one installation for bench-nodes.sh, on the stack of with-stack.sh: `bench-nodes-on-stack.sh ROUND INSTALLATION`.
# Appends a line of JSON for each of the RATES to $RESULTS/runs.jsonl.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/processes.sh
source "$(dirname "${BASH_SOURCE[0]}")/processes.sh"
# shellcheck source=deploy/dev/application.sh
source "$(dirname "${BASH_SOURCE[0]}")/application.sh"

ROUND=$1
INSTALLATION=$2
REPORTS=$RESULTS/$ROUND-${INSTALLATION//\//-}
readonly LOADTEST=$TARGET_DIR/release/hamro-loadtest ROUND INSTALLATION REPORTS
# Of all load generators together.
readonly CONNECTIONS=10000
NODES=(rabbitmq)

main() {
    local apis workers brokers rate
    IFS=/ read -r apis workers brokers <<<"$INSTALLATION"
    if ((brokers > 1)); then mapfile -t NODES < <(seq -f 'rabbitmq-%.0f' "$brokers"); fi
    mkdir -p "$REPORTS"
    cd "$ROOT"
    trap stop_application EXIT
    # shellcheck disable=SC2046 # names without spaces
    start_apis $(seq -f 'api-%.0f' "$apis")
    start_workers "$workers"
    watch_services postgres "${NODES[@]}"
    for rate in $RATES; do measure "$rate"; done
}

measure() { # RATE
    local rate=$1 of_each before after concerts
    of_each=$((rate / LOADERS))
    read -r -a concerts <<<"$("$LOADTEST" create --url "${URLS[0]}" --seats $((of_each * LOAD_SECONDS * LOADERS)))"
    # Otherwise autovacuum would do it during the run.
    sql 'VACUUM ANALYZE seats'
    before=$(volumes)
    load "$rate" "$of_each" "${concerts[@]}"
    after=$(volumes)
    jq --compact-output --argjson round "$ROUND" --arg installation "$INSTALLATION" --argjson rate "$rate" \
        --argjson before "$before" --argjson after "$after" --from-file deploy/dev/bench-nodes/run.jq \
        "$REPORTS/$rate.json" >>"$RESULTS/runs.jsonl"
    tail -n 1 "$RESULTS/runs.jsonl" |
        jq --raw-output '"    \(.rate)/s offered, \(.values["settled/s, end to end"] | round)/s settled" +
            if .failed == [] then "" else "; failed: \(.failed | join("; "))" end'
}

# Puts the installation under load, and writes the joint report of the load generators.
load() { # RATE OF_EACH --concert ID…
    local rate=$1 of_each=$2 prepare start_at number jobs=() reports=() journals=() watched=("${WATCHED[@]}")
    shift 2
    # The load generators start together. Until then they read the seat maps.
    prepare=$((10 + rate * LOAD_SECONDS / 15000))
    start_at=$(date -u -d "+$prepare seconds" +%Y-%m-%dT%H:%M:%SZ)
    for ((number = 1; number <= LOADERS; number++)); do
        "${PRIORITY[@]}" "$LOADTEST" run spread "$@" --part "$number/$LOADERS" --start-at "$start_at" --rate "$of_each" \
            --buyers $((of_each * LOAD_SECONDS)) --in-flight-max $((CONNECTIONS / LOADERS)) \
            --url "${URLS[(number - 1) % ${#URLS[@]}]}" --journal "$REPORTS/$rate-$number.journal" \
            --json "$REPORTS/$rate-$number.json" "${watched[@]}" >"$REPORTS/$rate-$number.log" 2>&1 &
        jobs+=($!)
        reports+=("$REPORTS/$rate-$number.json")
        journals+=(--journal "$REPORTS/$rate-$number.journal")
        # One load generator records the CPU time of all processes.
        watched=()
    done
    for ((number = 1; number <= LOADERS; number++)); do
        allow_failed_run "$REPORTS/$rate-$number.log" wait "${jobs[number - 1]}"
    done
    allow_failed_run "$REPORTS/$rate.log" merge "$REPORTS/$rate.log" "${reports[@]}" "${journals[@]}" --exclusive \
        --json "$REPORTS/$rate.json"
    jq --exit-status '.proof.violations == {}' "$REPORTS/$rate.json" >/dev/null ||
        die_with_log "$REPORTS/$rate.log" "a rule was violated."
    # Hundreds of megabytes, which are needed no more.
    rm -f "$REPORTS/$rate-"*.journal
}

# shellcheck disable=SC2329 # called by allow_failed_run
merge() { # LOG ARGUMENTS…
    "$LOADTEST" merge "${@:2}" >"$1" 2>&1
}

# Runs COMMAND. Status 1 says that the run failed, which an overload does; its report is complete.
allow_failed_run() { # LOG COMMAND…
    local log=$1 status=0
    shift
    "$@" || status=$?
    ((status <= 1)) || die_with_log "$log" "the load generator could not run (status $status)."
}

# Prints what was written and sent since the start, in bytes.
volumes() {
    local node pid kind bytes written=0 between=0
    for node in "${NODES[@]}"; do
        pid=$(running_pid "$HAMRO_STACK_DIR/pids/$node") || die "$node is not running."
        while read -r kind bytes; do
            if [[ $kind == write_bytes: ]]; then written=$((written + bytes)); fi
        done <"/proc/$pid/io"
        between=$((between + $(sent_to_other_nodes "$node")))
    done
    printf '{"wal":%s,"database":%s,"written":%s,"between":%s}\n' "$(sql "SELECT pg_current_wal_insert_lsn() - '0/0'")" \
        "$(sql 'SELECT pg_database_size(current_database())')" "$written" "$between"
}

# Prints how many bytes a RabbitMQ node has sent to the others.
sent_to_other_nodes() { # NODE
    if ((${#NODES[@]} == 1)); then
        echo 0
        return
    fi
    "$HAMRO_STACK_DIR/rabbitmqctl${1#rabbitmq}" --quiet eval 'lists:sum([Octets ||
        {_, Port} <- erlang:system_info(dist_ctrl), is_port(Port), {ok, [{send_oct, Octets}]} <- [inet:getstat(Port, [send_oct])]]).'
}

sql() { # STATEMENT
    psql --quiet --no-psqlrc --no-align --tuples-only --set=ON_ERROR_STOP=1 --command="$1" "$DATABASE_URL"
}

main
