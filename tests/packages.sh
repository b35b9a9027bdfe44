#!/usr/bin/env bash
# Makes the Debian package, has lintian judge it, and lives through its life on a fresh minimal Debian that systemd boots in
# a container of its own: installed, configured, started, watched over, upgraded from an older one, removed and purged.
#
#     sudo tests/packages.sh [SUITE]        # bookworm, unless another release of Debian is named
#
# Not part of tests/run.sh, because it builds the release and makes a system from downloaded packages: some ten minutes.
# Exit 0: all held. What it makes it removes, whatever happens.
set -euo pipefail

suite=${1:-bookworm}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=../deploy/postgres.sh
. deploy/postgres.sh
# shellcheck source=by_hand.sh
. tests/by_hand.sh

[ "$(id -u)" -eq 0 ] || fail "this boots a system: run it as root"
ensure_postgres
ensure_compiler
ensure_rust "$root"
ensure_programs debootstrap lintian systemd-nspawn:systemd-container

place=$(mktemp -d /tmp/auth-reconciler-packages.XXXXXX)
server=$(mktemp -d /tmp/auth-reconciler-tests.XXXXXX)
system=$place/system
leader=''
stub=''
clean_up() {
    [ -z "$stub" ] || kill "$stub" 2>/dev/null || true
    end_system
    postgres_stop "$server" immediate
    rm -rf "$place" "$server"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# inside COMMAND...: runs a command in the booted system.
inside() {
    nsenter --target "$leader" --all -- \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8 PAGER=cat "$@"
}

# has_booted: notes the number of the process that is number 1 of the system: the only child of what boots it.
has_booted() {
    leader=$(cat "/proc/$booted/task/$booted/children" 2>/dev/null) && [ -n "$leader" ] || return 1
    leader=${leader%% *}
}

# answers: whether systemd there has started what it starts.
answers() { inside systemctl is-system-running 2>/dev/null | grep -qE '^(running|degraded)$'; }

boot_system() {
    # With the network of this machine, where the database and the instance are.
    systemd-nspawn --quiet --register=no --keep-unit --directory "$system" --boot </dev/null >"$place/boot.log" 2>&1 &
    booted=$!
    until_true 30 'the system boots' has_booted
    until_true 60 'systemd answers' answers
}

end_system() {
    [ -n "$leader" ] || return 0
    # What systemd does on SIGRTMIN+4: power off.
    kill -s RTMIN+4 "$leader" 2>/dev/null || true
    timeout 30 tail --pid="$leader" -f /dev/null || kill -KILL "$leader" 2>/dev/null || true
    leader=''
}

# of_unit PROPERTY: what systemd says of the unit.
of_unit() { inside systemctl show --property "$1" --value auth-reconciler; }

# unit_is PROPERTY VALUE
unit_is() { [ "$(of_unit "$1")" = "$2" ]; }

# mode_is MODE OWNER FILE: of a file in the system.
mode_is() { [ "$(stat -c '%a %U' "$system$3")" = "$1 $2" ]; }

sql() { as_server psql -X -q -v ON_ERROR_STOP=1 -d "$url" -Atc "$1"; }

# row_is STATUS: of the one instance.
row_is() { [ "$(sql 'select auth_status from public.message_instances')" = "$1" ]; }

# has_restarted NUMBER: whether the unit runs with another process than this one.
has_restarted() { unit_is ActiveState active && ! unit_is MainPID "$1" && ! unit_is MainPID 0; }

make_packages() {
    package=$(deploy/package.sh --output "$place/new.deb")
    deploy/package.sh --deb-version 0.0.9-1 --output "$place/old.deb" >/dev/null
    say "the package has $(stat -c %s "$package") bytes"
    # A package for no distribution names neither a bug nor a section of one.
    holds "lintian finds no fault" lintian --fail-on error,warning --info "$package"
}

make_system() {
    minimal_debian "$system" "$suite"
    cp "$place"/*.deb "$system/root/"
}

make_database() {
    say "starting a private PostgreSQL server and an instance"
    postgres_init "$server"
    postgres_start "$server" fsync=off
    url=postgres://postgres@127.0.0.1:$(postgres_port "$server")/postgres
    sql "$(manager_table)"
    cargo build --workspace --locked --bin instance >&2
    instance_port=$(free_port)
    INSTANCE_ID=00000000-0000-0000-0000-000000000001 INSTANCE_PORT=$instance_port INSTANCE_ASKS_AFTER=0 \
        INSTANCE_LISTENS_AFTER=0 INSTANCE_WRITES_KEY=false INSTANCE_WRITES_ACCOUNT=false \
        target/debug/instance >/dev/null 2>&1 &
    stub=$!
}

test_installation() {
    holds "it installs on a minimal system" inside dpkg --install /root/old.deb
    holds "the settings are root's alone" mode_is 600 root /etc/auth-reconciler/env
    holds "nothing is started" unit_is ActiveState inactive
    holds "nothing is enabled" [ "$(inside systemctl is-enabled auth-reconciler)" = disabled ]
    holds "the group of the engine's socket is there" inside getent group docker
    holds "there is a manual" inside man --where auth-reconciler-run
    holds "bash completes" inside bash -c '. /usr/share/bash-completion/bash_completion
        _completion_loader auth-reconciler; complete -p auth-reconciler' >/dev/null
    holds "the unit is understood" inside systemd-analyze verify auth-reconciler.service
    holds "without settings it does not start" not inside systemctl start auth-reconciler
    holds "and is not tried again" unit_is ExecMainStatus 2
    inside systemctl reset-failed auth-reconciler
}

test_service() {
    local pid
    printf 'DATABASE_URL=%s\nAUTH_RECONCILER_DOCKER=off\nAUTH_RECONCILER_ECHO_INTERVAL=1s\n' "$url" \
        >>"$system/etc/auth-reconciler/env"
    holds "the schema is made" inside auth-reconciler migrate --database-url "$url"
    sql "insert into public.message_instances (id, port_api, api_key)
        values ('00000000-0000-0000-0000-000000000001', $instance_port, 'a-key')"
    holds "it starts" timeout 60 nsenter --target "$leader" --all systemctl enable --now auth-reconciler
    holds "it says what it does" unit_is StatusText 'leads and serves'
    until_true 20 'the row becomes true' row_is client_ready
    holds "its health is good" health_is 0
    pid=$(of_unit MainPID)
    holds "it is nobody that the system knows" not inside grep -q "^[^:]*:[^:]*:$(inside stat -c %u "/proc/$pid"):" /etc/passwd
    holds "it has no capability" inside grep -q '^CapBnd:[[:space:]]*0*$' "/proc/$pid/status"
    holds "it may gain none" inside grep -q '^NoNewPrivs:[[:space:]]*1$' "/proc/$pid/status"
    holds "it leaves no core" inside grep -q '^Max core file size  *0 ' "/proc/$pid/limits"
    holds "it shows no password" not inside grep -q postgres: "/proc/$pid/cmdline"

    inside sh -c "kill -KILL $pid"
    until_true 30 'killed, it is started again' has_restarted "$pid"
    inside sh -c 'mkdir -p /run/systemd/system/auth-reconciler.service.d
        printf "[Service]\nWatchdogSec=2\n" >/run/systemd/system/auth-reconciler.service.d/test.conf
        systemctl daemon-reload; systemctl restart auth-reconciler'
    pid=$(of_unit MainPID)
    inside sh -c "kill -STOP $pid"
    until_true 30 'frozen, it is started again' has_restarted "$pid"
    holds "it was the watchdog" grep -q 'watchdog' <(inside journalctl --unit auth-reconciler --no-pager | tr '[:upper:]' '[:lower:]')
}

# lost: whether it says that it has no connection.
lost() { of_unit StatusText | grep -qE '^has (lost the|no) connection'; }

# health_is CODE
health_is() {
    local code=0
    inside auth-reconciler health --database-url "$url" || code=$?
    [ "$code" = "$1" ]
}

test_outage() {
    local pid
    pid=$(of_unit MainPID)
    local port
    port=$(postgres_port "$server")
    postgres_stop "$server" immediate
    until_true 30 'it says that the database is gone' lost
    holds "its health is unknown" health_is 3
    # On the port that the daemon knows.
    as_server "$(postgres_bin)/pg_ctl" -D "$server/data" -l "$server/log" -w \
        -o "-c port=$port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$server" start >/dev/null
    until_true 90 'it leads again' unit_is StatusText 'leads and serves'
    holds "the same process goes on after an outage" unit_is MainPID "$pid"
}

test_upgrade_and_end() {
    local pid before
    pid=$(of_unit MainPID)
    before=$(sha256sum <"$system/etc/auth-reconciler/env")
    holds "it is upgraded" inside env DEBIAN_FRONTEND=noninteractive dpkg --install --force-confold /root/new.deb
    holds "what ran runs, as the new one" has_restarted "$pid"
    holds "it is enabled still" [ "$(inside systemctl is-enabled auth-reconciler)" = enabled ]
    holds "the settings are as they were" [ "$before" = "$(sha256sum <"$system/etc/auth-reconciler/env")" ]
    holds "and root's alone" mode_is 600 root /etc/auth-reconciler/env
    holds "it is removed" inside dpkg --remove auth-reconciler
    holds "it runs no more" not unit_is ActiveState active
    holds "the settings stay" [ -e "$system/etc/auth-reconciler/env" ]
    holds "it is purged" inside dpkg --purge auth-reconciler
    holds "nothing is left of it" [ -z "$(find "$system/etc" "$system/usr" "$system/var/lib" -xdev \
        \( -name '*auth-reconciler*' -o -name '*auth_reconciler*' \) -print)" ]
}

begin=$SECONDS
make_packages
make_system
make_database
boot_system
test_installation
test_service
test_outage
test_upgrade_and_end
say "all held, after $((SECONDS - begin)) s"
