#!/usr/bin/env bash
# Shows the main job on a Debian or Ubuntu machine, as root or with sudo: installs what is missing, builds, and replays
# the recorded incident against the real daemon.
#
#   deploy/quickstart.sh          replays, then keeps the daemon running until Ctrl-C
#   deploy/quickstart.sh --once   replays and ends: exit 0 if all went well, else 1
#   deploy/quickstart.sh --psql   opens psql on the private server of an earlier run
#
# Where a Docker engine answers, the instance of the replay is a real container (nothing is pulled), else it is played in
# the replay's own process. --docker starts a private engine if none answers, and installs it if need be; --no-docker
# leaves an engine alone.
#
# The database is the one that DATABASE_URL names (only the schemas auth_reconciler and auth_reconciler_demo are used),
# else a private server whose data stays in target/quickstart/.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
called_from=$PWD
cd "$root"
# shellcheck source=postgres.sh
. deploy/postgres.sh
# shellcheck source=docker.sh
. deploy/docker.sh

once=''
psql=''
docker=if-there
for argument in "$@"; do
    case $argument in
    --once) once=1 ;;
    --psql) psql=1 ;;
    --docker) docker=always ;;
    --no-docker) docker=never ;;
    -h | --help)
        sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    *) fail "$argument is not understood (accepted: --once, --psql, --docker, --no-docker, --help)" ;;
    esac
done

# The folder of the private server: below target/, unless its user may not enter that (a clone in /root).
private_folder() {
    local folder=$root/target/quickstart
    mkdir -p "$folder"
    if ! as_server test -x "$folder"; then
        folder=/var/tmp/auth-reconciler-quickstart-$(printf '%s' "$root" | cksum | cut -d ' ' -f 1)
        [ ! -e "$folder" ] || [ "$(stat -c %U "$folder")" = postgres ] || fail "$folder belongs to somebody else"
    fi
    printf '%s/postgres' "$folder"
}

server=''
ours=''
engine=''
# shellcheck disable=SC2317 # called by a trap
clean_up() {
    [ -z "$engine" ] || docker_stop "$engine"
    [ -z "$ours" ] || postgres_stop "$server" fast
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Starts the private server, or uses it as it is if another run of this script has it running.
start_server() {
    ensure_postgres
    server=$(private_folder)
    [ "$(id -u)" -ne 0 ] || install -d -o postgres -g postgres -m 700 "$(dirname "$server")"
    postgres_init "$server"
    if ! postgres_is_running "$server"; then
        ours=1
        say "starting a private PostgreSQL server in $server"
        postgres_start "$server"
    fi
    DATABASE_URL=postgres://postgres@127.0.0.1:$(postgres_port "$server")/postgres
    export DATABASE_URL
}

if [ -n "$psql" ]; then
    if [ -n "${DATABASE_URL:-}" ]; then
        fail "--psql is for the private server; DATABASE_URL is set"
    fi
    start_server
    # Ctrl-C belongs to psql: it cancels a query there.
    trap '' INT
    "$(postgres_bin)/psql" -h 127.0.0.1 -p "$(postgres_port "$server")" -U postgres -d postgres
    exit
fi

ensure_compiler
ensure_rust "$root"
arguments=()
if [ -z "${DATABASE_URL:-}" ]; then
    start_server
    if [ -n "$once" ] && [ -n "$ours" ]; then
        # The server stops with this script, so plain psql would find nothing.
        case $called_from in
        "$root") arguments+=(--psql './deploy/quickstart.sh --psql') ;;
        *) arguments+=(--psql "'$root/deploy/quickstart.sh' --psql") ;;
        esac
    fi
fi
[ -z "$once" ] || arguments+=(--once)

# Adds the address of the engine to the arguments, if there is to be one.
choose_engine() {
    local url
    [ "$docker" != never ] || return 0
    if ! url=$(docker_find); then
        [ "$docker" = always ] || return 0
        ensure_docker
        # Installing it may have started it.
        if ! url=$(docker_find); then
            say "starting a private Docker engine"
            engine=$(mktemp -d /tmp/auth-reconciler-engine.XXXXXX)
            docker_start "$engine"
            url=unix://$engine/docker.sock
        fi
    fi
    arguments+=(--docker "$url")
}
choose_engine

say "building"
cargo build --release --locked -p auth-reconciler -p auth-reconciler-tests --bins
target=${CARGO_TARGET_DIR:-$root/target}/release
status=0
AUTH_RECONCILER_BIN=$target/auth-reconciler "$target/replay" "${arguments[@]}" </dev/null || status=$?
exit "$status"
