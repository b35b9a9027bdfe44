# shellcheck shell=bash
# What the tests that are run by hand share. To be sourced after deploy/postgres.sh, whose say and fail it uses.

# ensure_programs PROGRAM[:PACKAGE]...: installs what is missing.
ensure_programs() {
    local program missing=()
    for program in "$@"; do
        command -v "${program%:*}" >/dev/null || missing+=("${program#*:}")
    done
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

# until_true SECONDS WHAT COMMAND...: tries the command until it succeeds, and says so, or fails.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || fail "waited in vain: $what"
        sleep 0.2
    done
    say "holds: $what"
}

# holds WHAT COMMAND...: says so, or fails.
holds() {
    local what=$1
    shift
    "$@" || fail "does not hold: $what"
    say "holds: $what"
}

not() { ! "$@"; }

# minimal_debian FOLDER SUITE: a minimal Debian with systemd in FOLDER, of packages that are downloaded; or, where
# AUTH_RECONCILER_TEST_DEBIAN names the folder of one that was made earlier, a copy of that.
minimal_debian() {
    if [ -n "${AUTH_RECONCILER_TEST_DEBIAN:-}" ]; then
        cp -a "$AUTH_RECONCILER_TEST_DEBIAN" "$1"
        return
    fi
    say "making a minimal Debian $2"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,man-db,bash-completion "$2" "$1" >"$1.log" ||
        fail "no minimal system could be made: $(tail -n 3 "$1.log")"
}

# manager_table: prints the statement that makes the manager's table, as far as the daemon knows it.
manager_table() {
    printf '%s' "create table public.message_instances (id uuid primary key, provider varchar default 'telegram',
        type_instance varchar[] default '{api}', port_api int, api_key varchar, account text, token text,
        auth_status varchar(50) default 'pending', created_at timestamp default now(),
        updated_at timestamp default now())"
}
