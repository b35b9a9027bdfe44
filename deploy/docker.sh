# shellcheck shell=bash
# A Docker engine for the project's scripts: one that answers, else a private one.
#
# To be sourced after postgres.sh. A private engine lives in a folder of its own with a containerd of its own and pulls
# nothing; ports are published by its userland proxy. It touches no firewall rule, but where the machine forwards nothing
# by default (as an engine that ran here earlier leaves it), what its containers say to each other on one bridge is let
# through as long as it runs. What this file starts it also stops.

# docker_answers URL: whether an engine answers there, to this user.
docker_answers() {
    # The port and the socket of an engine that hangs accept, too.
    if command -v docker >/dev/null; then
        timeout 10 docker --host "$1" version >/dev/null 2>&1
    elif command -v curl >/dev/null; then
        curl --silent --fail --max-time 10 --unix-socket "${1#unix://}" http://localhost/version >/dev/null 2>&1
    else
        return 1
    fi
}

# docker_find: prints the unix:// address of an engine that answers; fails if there is none.
docker_find() {
    local url=${DOCKER_HOST:-unix:///var/run/docker.sock}
    # Its containers share folders with us, so it must be on this machine.
    [ "${url#unix://}" != "$url" ] || return 1
    docker_answers "$url" || return 1
    printf '%s' "$url"
}

ensure_docker() {
    # Not always in the PATH of a user.
    PATH=$PATH:/usr/sbin:/sbin
    if ! command -v dockerd >/dev/null || ! command -v containerd >/dev/null || ! command -v iptables >/dev/null; then
        install_packages docker.io iptables
        hash -r
    fi
    # Newer packages leave the client out.
    command -v docker >/dev/null || install_packages docker-cli
    command -v dockerd >/dev/null || fail "docker.io is installed, but dockerd is not found"
}

# docker_spawn FOLDER NAME COMMAND...: runs a command as root in the background, in a session of its own so that Ctrl-C
# is for us to handle; its output is in FOLDER/NAME.log and its process number in FOLDER/NAME.pid.
docker_spawn() {
    local folder=$1 name=$2
    shift 2
    # shellcheck disable=SC2016 # expanded by that shell
    as_root setsid sh -c 'echo $$ >"$1"; shift; exec "$@"' sh "$folder/$name.pid" "$@" \
        </dev/null >"$folder/$name.log" 2>&1 &
}

docker_is_running() {
    local pid
    pid=$(cat "$1/$2.pid" 2>/dev/null) && [ -e "/proc/$pid" ]
}

# docker_start FOLDER: starts a private engine in this empty folder, whose path must be short; its address is then
# unix://FOLDER/docker.sock.
docker_start() {
    local folder=$1 attempt
    # Empty settings of its own, so that the machine's do not count.
    printf '{}' >"$folder/daemon.json"
    cat >"$folder/containerd.toml" <<EOF
version = 2
root = "$folder/containerd"
state = "$folder/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$folder/containerd.sock"
EOF
    docker_spawn "$folder" containerd containerd --config "$folder/containerd.toml"
    for attempt in $(seq 100); do
        [ ! -S "$folder/containerd.sock" ] || break
        sleep 0.1
    done
    docker_spawn "$folder" dockerd dockerd --config-file "$folder/daemon.json" --host "unix://$folder/docker.sock" \
        --group "$(id -gn)" --containerd "$folder/containerd.sock" --data-root "$folder/data" \
        --exec-root "$folder/exec" --pidfile "$folder/engine.pid" --bridge none --iptables=false --ip-masq=false \
        --ip-forward=false
    for attempt in $(seq 300); do
        if docker_answers "unix://$folder/docker.sock"; then
            docker_open_bridges "$folder"
            return 0
        fi
        # Its process number is there a moment after it was spawned.
        [ "$attempt" -lt 20 ] || docker_is_running "$folder" dockerd || break
        sleep 0.1
    done
    tail -n 20 "$folder/containerd.log" "$folder/dockerd.log" >&2 || true
    fail "the Docker engine did not start (it needs root, also over control groups and mounts)"
}

# docker_bridged COMMAND (-C, -I or -D): the rule that lets through what stays on one bridge.
docker_bridged() {
    as_root iptables -w "$1" FORWARD -m physdev --physdev-is-bridged -j ACCEPT
}

# docker_open_bridges FOLDER: see above; notes in FOLDER that it did.
docker_open_bridges() {
    as_root iptables -w -S FORWARD 2>/dev/null | grep -q '^-P FORWARD DROP' || return 0
    ! docker_bridged -C 2>/dev/null || return 0
    docker_bridged -I
    : >"$1/bridges-open"
}

# docker_end FOLDER NAME: ends one of the two processes and waits for it.
docker_end() {
    local pid attempt
    docker_is_running "$1" "$2" || return 0
    pid=$(cat "$1/$2.pid")
    as_root kill -TERM "$pid" 2>/dev/null || true
    for attempt in $(seq 200); do
        docker_is_running "$1" "$2" || return 0
        [ "$attempt" -ne 150 ] || as_root kill -KILL "$pid" 2>/dev/null || true
        sleep 0.1
    done
}

# docker_stop FOLDER: removes the engine that docker_start started there, its containers and the folder.
docker_stop() {
    local folder=$1 url=unix://$1/docker.sock ids mount
    [ -d "$folder" ] || return 0
    if docker_is_running "$folder" dockerd && docker_answers "$url"; then
        mapfile -t ids < <(timeout 60 docker --host "$url" ps --all --quiet)
        [ ${#ids[@]} -eq 0 ] || timeout 60 docker --host "$url" rm --force "${ids[@]}" >/dev/null 2>&1 || true
        # An engine leaves the bridges of its networks when it ends.
        timeout 60 docker --host "$url" network prune --force >/dev/null 2>&1 || true
    fi
    docker_end "$folder" dockerd
    docker_end "$folder" containerd
    [ ! -e "$folder/bridges-open" ] || docker_bridged -D || true
    while read -r mount; do
        as_root umount -l "$mount" 2>/dev/null || true
    done < <(cut -d ' ' -f 5 /proc/self/mountinfo | grep "^$folder/" | sort -r)
    as_root rm -rf "$folder"
}
