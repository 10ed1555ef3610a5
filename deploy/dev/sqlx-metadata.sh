# shellcheck shell=bash
# The metadata of sqlx's query macros, made without sqlx-cli: while the workspace is compiled against a live database,
# the macros write what they learn into SQLX_OFFLINE_DIR. Sourced after common.sh.

readonly SQLX_DATABASE=hamro_sqlx

# A database with the migrations of this work tree and nothing else. Prints its URL.
migrated_database() { # uses DATABASE_URL
    local url=${DATABASE_URL%/*}/$SQLX_DATABASE file psql
    psql=(psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1)
    "${psql[@]}" --dbname="$DATABASE_URL" --command="CREATE DATABASE $SQLX_DATABASE"
    for file in "$ROOT"/migrations/*.sql; do
        case $file in
            *.down.sql) ;;
            *) "${psql[@]}" --dbname="$url" --file="$file" >&2 || die "migration ${file#"$ROOT/"} fails." ;;
        esac
    done
    echo "$url"
}

# What tests are built with: switches that make a process fail, see shared/src/faults.rs. The same for every command, or cargo
# would build everything twice.
readonly TEST_FEATURES=(--features faults)

# Runs cargo clippy with the arguments, and leaves the metadata of every query in DIRECTORY.
collect_metadata() { # DIRECTORY CLIPPY_ARGUMENT…
    local directory=$1 url
    shift
    rm -rf "$directory"
    mkdir -p "$directory"
    url=$(migrated_database)
    # Only what is compiled anew asks the database, and cargo cannot know that the database has changed.
    find "$ROOT" -path "$TARGET_DIR" -prune -o -path "$DEV_DIR" -prune -o -name '*.rs' \
        \( -path '*/src/lib.rs' -o -path '*/src/main.rs' -o -path '*/src/bin/*' -o -path '*/tests/*' -o -path '*/benches/*' \) \
        -exec touch --no-create {} +
    DATABASE_URL=$url SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$directory \
        cargo clippy --workspace --all-targets --locked "${TEST_FEATURES[@]}" "$@"
}
