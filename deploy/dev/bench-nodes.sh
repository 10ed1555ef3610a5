#!/usr/bin/env bash
# `make bench-nodes`: measures what more nodes cost. Puts installations of different numbers of api instances, workers and
# RabbitMQ nodes under the same load on this machine, in rounds, and prints a table with the ratios to the first. On one
# machine more nodes can only cost: the result is the price of a node, not a higher rate.
#
# `make bench-nodes ARGS='1/1/1 1/1/3 2/4/3'` measures these installations, each APIS/WORKERS/BROKERS. By default, 1/1/1 and
# 2/4/3. Every installation is new in every round, as durable as that of `make up`, and gets its load from the same number of
# load generators: one for each api instance of the largest, at least two. The order is reversed in every second round.
#
#   ROUNDS         number of rounds, default 3
#   RATES          bookings offered per second, one run each, default '2000 8000 20000'. The last one is meant to be more than
#                  the machine carries: its settled/s are the saturation rate. A run in which the load generators were out of
#                  connections counts as failed, which the table shows
#   LOAD_SECONDS   how long buyers arrive in a run, default 12
#
# The default takes about half an hour. Reports are stored in .dev/bench-nodes-reports/.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

export ROUNDS=${ROUNDS:-3} RATES=${RATES:-2000 8000 20000} LOAD_SECONDS=${LOAD_SECONDS:-12}

main() {
    local installations=("$@") round
    if (($# == 0)); then installations=(1/1/1 2/4/3); fi
    check_arguments "${installations[@]}"
    find_cargo
    cd "$ROOT"
    ensure_installed linker postgres rabbitmq jq
    say "Building (the first build takes minutes, later ones seconds)"
    SQLX_OFFLINE=true "${BUILD_RELEASE[@]}" --bin hamro-api --bin hamro-worker --bin hamro-loadtest
    RESULTS=$DEV_DIR/bench-nodes-reports/$(date -u +%Y%m%d-%H%M%S)
    LOADERS=$(load_generators "${installations[@]}")
    export RESULTS LOADERS
    mkdir -p "$RESULTS"
    for ((round = 1; round <= ROUNDS; round++)); do
        run_round "$round" "${installations[@]}"
    done
    print_tables "${installations[@]}"
}

check_arguments() { # INSTALLATION…
    local installation rate
    for installation in "$@"; do
        [[ $installation =~ ^[1-9]/[1-9]/[1-5]$ ]] ||
            die "an installation must be APIS/WORKERS/BROKERS such as 2/4/3, not '$installation'." \
                "At most nine apis, nine workers and five brokers."
    done
    [[ $ROUNDS =~ ^[1-9][0-9]?$ ]] || die "ROUNDS must be a number from 1 to 99, not '$ROUNDS'."
    [[ $LOAD_SECONDS =~ ^[1-9][0-9]{0,2}$ ]] || die "LOAD_SECONDS must be a number from 1 to 999, not '$LOAD_SECONDS'."
    [[ $RATES =~ [0-9] ]] || die "RATES must be numbers of bookings per second such as '2000 8000', not '$RATES'."
    for rate in $RATES; do
        [[ $rate =~ ^[1-9][0-9]{1,5}$ ]] || die "RATES must be numbers from 10 to 999999, not '$rate'."
    done
}

# Prints how many load generators every installation gets.
load_generators() { # INSTALLATION…
    local installation most=2
    for installation in "$@"; do most=$(at_least "$most" "${installation%%/*}"); done
    echo "$most"
}

run_round() { # ROUND INSTALLATION…
    local round=$1 installation order=() brokers cluster
    shift
    for installation in "$@"; do
        # What the machine does in the course of a round must not always meet the same installation.
        if ((round % 2)); then order+=("$installation"); else order=("$installation" "${order[@]}"); fi
    done
    for installation in "${order[@]}"; do
        brokers=${installation##*/}
        cluster=()
        if ((brokers > 1)); then cluster=(--brokers "$brokers"); fi
        say "Round $round of $ROUNDS: $installation (apis/workers/brokers)"
        deploy/dev/with-stack.sh --durable "${cluster[@]}" bench-nodes -- \
            deploy/dev/bench-nodes-on-stack.sh "$round" "$installation"
    done
}

print_tables() { # INSTALLATION…
    local rate
    for rate in $RATES; do
        printf '\n%s\n\n' "$rate bookings/s offered for $LOAD_SECONDS s, medians of $ROUNDS rounds; ratios to $1 in the same round:"
        jq --slurp --raw-output --argjson rate "$rate" --from-file deploy/dev/bench-nodes/table.jq \
            "$RESULTS/runs.jsonl" --args "$@"
    done
    printf '\n%s\n' "Reports: ${RESULTS#"$ROOT/"}"
}

main "$@"
