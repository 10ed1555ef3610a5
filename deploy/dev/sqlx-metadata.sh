# shellcheck shell=bash
# Generates the metadata of sqlx's query macros without sqlx-cli: when the workspace is compiled against a live
# database, the macros write the metadata to SQLX_OFFLINE_DIR. Sourced after common.sh.

readonly SQLX_DATABASE=hamro_sqlx

# Creates a database with only the migrations of this work tree. Prints its URL.
migrated_database() { # uses DATABASE_URL
    local url=${DATABASE_URL%/*}/$SQLX_DATABASE file psql
    psql=(psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1)
    "${psql[@]}" --dbname="$DATABASE_URL" --command="CREATE DATABASE $SQLX_DATABASE"
    for file in "$ROOT"/migrations/*.sql; do
        case $file in
            *.down.sql) ;;
            *) "${psql[@]}" --single-transaction --dbname="$url" --file="$file" >&2 || die "migration ${file#"$ROOT/"} failed." ;;
        esac
    done
    echo "$url"
}

# Tests are built with fault injection; see shared/src/faults.rs. All commands use the same features, because otherwise
# cargo would build everything twice.
readonly TEST_FEATURES=(--features faults)

# Runs cargo clippy with the arguments, and writes the metadata of every query to DIRECTORY.
collect_metadata() { # DIRECTORY CLIPPY_ARGUMENT…
    local directory=$1 url
    shift
    rm -rf "$directory"
    mkdir -p "$directory"
    url=$(migrated_database)
    # Force recompilation: the macros query the database only when compiled, and cargo does not notice database changes.
    find "$ROOT" -path "$TARGET_DIR" -prune -o -path "$DEV_DIR" -prune -o -name '*.rs' \
        \( -name lib.rs -o -name main.rs -o -path '*/src/bin/*' -o -path '*/tests/*' -o -path '*/benches/*' \) \
        -exec touch --no-create {} +
    DATABASE_URL=$url SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$directory \
        cargo clippy --workspace --all-targets --locked "${TEST_FEATURES[@]}" "$@"
}
