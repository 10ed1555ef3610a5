#!/usr/bin/env bash
# The part of `make test-images` that needs PostgreSQL and RabbitMQ: `test-images-on-stack.sh FUNCTIONS`, with
# image-engine.sh or image-buildah.sh. test-images.sh runs it through with-stack.sh.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/processes.sh
source "$(dirname "${BASH_SOURCE[0]}")/processes.sh"
# shellcheck source=deploy/dev/image-buildah.sh
source "$(dirname "${BASH_SOURCE[0]}")/$1"

# The user of both images. Kubernetes manifests and the owners of mounted secrets rely on it.
readonly IMAGE_USER=10001:10001

main() {
    cd "$ROOT"
    trap containers_delete EXIT
    choose_settings
    step "What the images contain" check_contents
    step "Starting the programs" start_programs
    step "Booking a seat" book_a_seat
    step "Stopping the programs" stop_programs
    say "make test-images: built both images with $ENGINE (api $(image_megabytes api) MB, worker $(image_megabytes worker) MB)," \
        "booked a seat through them as user $IMAGE_USER on a read-only file system, and both ended cleanly."
}

choose_settings() {
    local port
    port=$(next_free_port "$(($(cat "$HAMRO_STACK_DIR/ports/postgres") + 10))")
    URL=http://127.0.0.1:$port
    SHARED=("DATABASE_URL=$DATABASE_URL" "AMQP_URL=$AMQP_URL" LOG_FORMAT=json HOST=127.0.0.1)
    API=("${SHARED[@]}" "PORT=$port" "TICKET_KEYS=$(random_hex 32)")
    WORKER=("${SHARED[@]}" "WORKER_HTTP_PORT=$(next_free_port $((port + 1)))")
}

check_contents() {
    local target
    for target in api worker; do
        [[ $(image_user "$target") == "$IMAGE_USER" ]] || die "the image of the $target has the user '$(image_user "$target")'."
        container_run "$target" -- test -s /etc/ssl/certs/ca-certificates.crt ||
            die "the image of the $target has no certificates, which TLS to PostgreSQL or RabbitMQ needs."
        # Everybody may write to /tmp: it shows that the file system is read-only here, as in docker-compose.yml.
        ! container_run "$target" -- touch /tmp/written 2>/dev/null || die "the file system of the $target is not read-only."
    done
    # Nothing listens yet. A health command that succeeds now would always succeed.
    ! container_run api "${API[@]}" -- hamro-api healthcheck >/dev/null 2>&1 || die "the health command of the api does not fail."
    ! container_run worker "${WORKER[@]}" -- hamro-worker healthcheck >/dev/null 2>&1 ||
        die "the health command of the worker does not fail."
}

# The api first: it migrates the empty database.
start_programs() {
    container_start api "${API[@]}"
    wait_until 90 container_is_healthy api || die_with_container api "the api is not healthy after 90 seconds."
    container_start worker "${WORKER[@]}"
    wait_until 90 container_is_healthy worker || die_with_container worker "the worker is not healthy after 90 seconds."
}

book_a_seat() {
    local concert seat ticket=$DEV_DIR/images/ticket location
    concert=$(first_id /concerts)
    seat=$(first_id "/seats/concert/$concert/available")
    curl --silent --show-error --fail --dump-header "$ticket" --output /dev/null "$URL/ticket-bookings" \
        --header 'Content-Type: application/json' --header "Idempotency-Key: $(random_hex 16)" \
        --data "{\"userName\":\"Alice\",\"userEmail\":\"alice@example.com\",\"seatIds\":[$seat]}"
    location=$(sed -n 's/^location: \([^[:space:]]*\).*/\1/Ip' "$ticket")
    wait_until 30 ticket_is_confirmed "$location" || die_with_container worker "the booking is not confirmed after 30 seconds."
}

# Prints the first id in the response.
first_id() { # PATH
    local response
    response=$(curl --silent --show-error --fail "$URL$1")
    [[ $response =~ \"id\":\"?([^\",}]+) ]] || die "the response of $1 has no id: $response"
    echo "${BASH_REMATCH[1]}"
}

# shellcheck disable=SC2329 # called by wait_until
ticket_is_confirmed() { # LOCATION
    curl --silent --show-error --fail "$URL$1" | grep --quiet '"status":"confirmed"'
}

stop_programs() {
    local target
    for target in worker api; do
        container_stop "$target"
        ((CONTAINER_STATUS == 0)) || die_with_container "$target" "the $target ended with status $CONTAINER_STATUS after SIGTERM."
        ! container_log "$target" | grep '"level":"ERROR"' || die "the $target logged these errors."
    done
}

die_with_container() { # TARGET MESSAGE
    container_log "$1" | tail -n 20 >&2
    die "$2"
}

main
