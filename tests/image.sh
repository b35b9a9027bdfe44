#!/usr/bin/env bash
# Runs deploy/compose.yaml as an operator would, on a private Docker engine beside an instance and a PostgreSQL server, and
# looks at what the daemon in it does, is told, may do and can reach.
#
#     sudo tests/image.sh
#
# No image can be had where there is no registry, so the two that deploy/Dockerfile builds on are replaced: the last stage
# gets a program that was built here, the proxy a Debian made of downloaded packages. Everything else is what the files
# say. Not part of tests/run.sh, because it builds the release and makes a system: some ten minutes. Exit 0: all held. What
# it makes it removes, whatever happens.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=../deploy/postgres.sh
. deploy/postgres.sh
# shellcheck source=../deploy/docker.sh
. deploy/docker.sh
# shellcheck source=by_hand.sh
. tests/by_hand.sh

[ "$(id -u)" -eq 0 ] || fail "this starts an engine and makes a system: run it as root"
ensure_postgres
ensure_compiler
ensure_rust "$root"
ensure_docker
ensure_programs debootstrap docker-compose curl

place=$(mktemp -d /tmp/auth-reconciler-image.XXXXXX)
server=$(mktemp -d /tmp/auth-reconciler-tests.XXXXXX)
engine=$(mktemp -d /tmp/auth-reconciler-engine.XXXXXX)
clean_up() {
    docker_stop "$engine"
    postgres_stop "$server" immediate
    rm -rf "$place" "$server" "$engine"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

id=00000000-0000-0000-0000-000000000001
port=4001

# of CONTAINER FORMAT: what the engine says of it.
of() { docker inspect --format "$2" "$1"; }

# shown CONTAINER FORMAT VALUE: whether the engine says that.
shown() { [ "$(of "$1" "$2")" = "$3" ]; }

# health STATUS: whether the engine says that of the daemon's health.
health() { shown "$daemon" '{{.State.Health.Status}}' "$1"; }

sql() { as_server psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$(postgres_port "$server")" -U postgres -d postgres -Atc "$1"; }

# row_is STATUS: of the one instance.
row_is() { [ "$(sql 'select auth_status from public.message_instances')" = "$1" ]; }

# sees_engine: whether the daemon says that.
sees_engine() { [ "$(sql "select engine from auth_reconciler.reconcilers where role = 'active'")" = seen ]; }

has_no_shell() { ! docker exec "$daemon" sh -c true >/dev/null 2>&1; }

compose() { docker-compose --file deploy/compose.yaml --file "$place/often.yaml" "$@"; }

# answers METHOD PATH CODE: what the proxy says to that.
answers() { [ "$(curl --silent --path-as-is --output /dev/null --max-time 10 --write-out '%{http_code}' --request "$1" "http://$proxy:2375$2")" = "$3" ]; }

make_images() {
    say "making the images"
    cargo build --release --workspace --locked --bin auth-reconciler
    cargo build --workspace --locked --bin instance
    # What the stage `build` leaves behind.
    deploy/image.sh target/release/auth-reconciler "$place/build/image"
    tar -C "$place/build" -c . | docker import - build >/dev/null
    sed -n '/^FROM scratch/,$p' deploy/Dockerfile >"$place/Dockerfile"
    docker build --quiet --tag auth-reconciler --file "$place/Dockerfile" "$place/build" >/dev/null
    say "the image has $(of auth-reconciler '{{.Size}}') bytes"

    minimal_debian "$place/debian" bookworm
    tar -C "$place/debian" -c . | docker import - debian:bookworm-slim >/dev/null
    rm -rf "$place/debian"
    sed -n '/^FROM debian/,/^ENTRYPOINT/p' deploy/Dockerfile >"$place/Dockerfile"
    mkdir -p "$place/proxy/deploy"
    cp deploy/haproxy.cfg "$place/proxy/deploy/"
    docker build --quiet --network host --tag auth-reconciler-engine-proxy --file "$place/Dockerfile" "$place/proxy" >/dev/null

    deploy/image.sh target/debug/instance "$place/instance"
    tar -C "$place/instance" -c . | docker import --change 'ENTRYPOINT ["/usr/bin/instance"]' - instance >/dev/null
}

make_world() {
    local gateway
    docker network create wweb-network >/dev/null
    gateway=$(docker network inspect --format '{{(index .IPAM.Config 0).Gateway}}' wweb-network)
    postgres_init "$server"
    printf 'host all all %s/16 trust\n' "$gateway" >>"$server/data/pg_hba.conf"
    postgres_start "$server" fsync=off "listen_addresses=127.0.0.1,$gateway"
    sql "$(manager_table)"
    sql "insert into public.message_instances (id, port_api, api_key) values ('$id', $port, 'a-key')"
    # As a manager's file is, with names that are of no concern to the daemon.
    cat >"$place/manager.env" <<END
PORT=3000
DATABASE_HOST=$gateway
DATABASE_PORT=$(postgres_port "$server")
DATABASE_NAME=postgres
DATABASE_USER=postgres
DATABASE_PASSWORD=
DATABASE_SSL=false
DOCKER_SOCKET_PATH=/var/run/docker.sock
END
    # The health is asked for every 30 s, which a test need not wait for.
    cat >"$place/often.yaml" <<END
services:
  auth-reconciler:
    healthcheck: {test: ["CMD", "/usr/bin/auth-reconciler", "health"], interval: 1s, timeout: 10s, retries: 1}
END
    export MANAGER_ENV_FILE=$place/manager.env DOCKER_SOCKET_FOLDER=$engine COMPOSE_PROJECT_NAME=reconciler
    docker run --detach --name "wweb-$id-api" --network wweb-network --label "wweb.instance.id=$id" \
        --label wweb.instance.type=api --env "INSTANCE_ID=$id" --env "INSTANCE_PORT=$port" --env INSTANCE_ASKS_AFTER=0 \
        --env INSTANCE_WRITES_KEY=false --env INSTANCE_WRITES_ACCOUNT=false instance >/dev/null
}

test_work() {
    compose config --quiet
    compose up --no-build --detach
    daemon=$(compose ps --quiet auth-reconciler)
    until_true 60 'the row is true' row_is client_ready
    until_true 60 'the engine tells that it is healthy' health healthy
    until_true 30 'it sees the engine through the proxy' sees_engine
    docker kill "wweb-$id-api" >/dev/null
    until_true 30 'it hears of a death at once' row_is failed
    docker start "wweb-$id-api" >/dev/null
    until_true 30 'it hears of a start' row_is client_ready
}

test_rights() {
    local pid
    pid=$(of "$daemon" '{{.State.Pid}}')
    holds "it is nobody" grep -q '^Uid:[[:space:]]65532[[:space:]]65532' "/proc/$pid/status"
    holds "it has no capability" grep -q '^CapBnd:[[:space:]]*0*$' "/proc/$pid/status"
    holds "it may gain no right" grep -q '^NoNewPrivs:[[:space:]]*1$' "/proc/$pid/status"
    holds "it leaves no core" grep -q '^Max core file size  *0 ' "/proc/$pid/limits"
    holds "its files cannot be written" shown "$daemon" '{{.HostConfig.ReadonlyRootfs}}' true
    holds "nothing of the machine is in it" shown "$daemon" '{{len .Mounts}}' 0
    holds "it publishes no port" shown "$daemon" '{{len .NetworkSettings.Ports}}' 0
    holds "there is no shell in it" has_no_shell
    holds "the network of the proxy leads nowhere" \
        [ "$(docker network inspect --format '{{.Internal}}' reconciler_engine)" = true ]
}

test_proxy() {
    local path pid
    proxy=$(compose ps --quiet engine-proxy)
    pid=$(of "$proxy" '{{.State.Pid}}')
    holds "the proxy has no capability" grep -q '^CapBnd:[[:space:]]*0*$' "/proc/$pid/status"
    proxy=$(of "$proxy" '{{(index .NetworkSettings.Networks "reconciler_engine").IPAddress}}')
    for path in /v1.41/containers/json "/containers/wweb-$id-api/json" "/containers/wweb-$id-api/logs?stdout=1"; do
        holds "it answers $path" answers GET "$path" 200
    done
    for path in /images/json /containers/create "/containers/wweb-$id-api/archive?path=/" /containers/../images/json \
        "/containers/%2e%2e/json" /v1.41/info / "//containers/json" "/containers/a/json/../../../exec/json"; do
        holds "it refuses $path" answers GET "$path" 403
    done
    for path in "/containers/wweb-$id-api/kill" /containers/create "/containers/wweb-$id-api/json"; do
        holds "it refuses to post $path" answers POST "$path" 403
    done
    holds "it refuses to delete" answers DELETE "/containers/wweb-$id-api/json" 403
}

test_outage() {
    local listens
    listens=$(postgres_port "$server")
    postgres_stop "$server" immediate
    until_true 60 'without PostgreSQL it is not healthy' health unhealthy
    as_server "$(postgres_bin)/pg_ctl" -D "$server/data" -l "$server/log" -w -o \
        "-c port=$listens -c listen_addresses=* -c unix_socket_directories=$server" start >/dev/null
    until_true 120 'with it it is again' health healthy
    compose restart auth-reconciler
    until_true 60 'after a restart, too' health healthy
    compose stop auth-reconciler
    holds "it ends in good order" shown "$daemon" '{{.State.ExitCode}}' 0
    compose down
}

begin=$SECONDS
say "starting a private Docker engine"
docker_start "$engine"
export DOCKER_HOST=unix://$engine/docker.sock
make_images
make_world
test_work
test_rights
test_proxy
test_outage
say "all held, after $((SECONDS - begin)) s"
