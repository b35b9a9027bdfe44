# shellcheck shell=bash
# What the project's scripts share: installing what is missing on Debian or Ubuntu, and a private PostgreSQL server.
#
# To be sourced. Nothing is installed that is there already, so no network is needed then. The server listens on
# 127.0.0.1 and on a socket in its own folder; it runs as the system's user postgres when the caller is root, because
# PostgreSQL refuses to run as root.

say() { printf '==> %s\n' "$*" >&2; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "need root for: $* (become root, or install sudo)"
    fi
}

# install_packages PACKAGE...
install_packages() {
    command -v apt-get >/dev/null || fail "please install by hand (this is not Debian or Ubuntu): $*"
    say "installing $*"
    as_root apt-get update -qq </dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

# unpack_packages FOLDER PACKAGE...: their files below FOLDER, and nothing else: no service starts, no user is made, and
# what they depend on is not installed. For programs that need nothing but the C library.
unpack_packages() {
    local folder=$1 archive
    shift
    command -v apt-get >/dev/null || fail "please install by hand (this is not Debian or Ubuntu): $*"
    say "unpacking $*"
    as_root apt-get update -qq </dev/null
    # Its warning that the archive is not its own user's to write is of no concern.
    (cd "$folder" && apt-get download -qq "$@" </dev/null 2>&1 | grep -v unsandboxed >&2) || true
    for archive in "$folder"/*.deb; do
        [ -e "$archive" ] || fail "could not download $*"
        dpkg-deb -x "$archive" "$folder"
    done
}

# The folder of PostgreSQL's programs: POSTGRES_BIN if that is set, else the newest installed; nothing if there is none.
postgres_bin() {
    local newest
    if [ -n "${POSTGRES_BIN:-}" ]; then
        printf '%s' "$POSTGRES_BIN"
        return
    fi
    newest=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | sort -n | tail -n 1)
    if [ -n "$newest" ] && [ -x "/usr/lib/postgresql/$newest/bin/postgres" ]; then
        printf '/usr/lib/postgresql/%s/bin' "$newest"
    elif command -v pg_config >/dev/null && [ -x "$(pg_config --bindir)/postgres" ]; then
        pg_config --bindir
    fi
}

ensure_postgres() {
    [ -n "$(postgres_bin)" ] || install_packages postgresql
    [ -n "$(postgres_bin)" ] || fail "PostgreSQL is installed, but its programs are not found"
}

ensure_compiler() {
    command -v cc >/dev/null || install_packages gcc libc6-dev
}

# rust_is_new_enough FOLDER: whether cargo exists and is at least what FOLDER/Cargo.toml asks for.
rust_is_new_enough() {
    local wanted present
    command -v cargo >/dev/null || return 1
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$1/Cargo.toml")
    present=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
    [ -n "$present" ] && [ "$(printf '%s\n%s\n' "$wanted" "$present" | sort -V | head -n 1)" = "$wanted" ]
}

# ensure_rust FOLDER [COMPONENT...]: cargo for the workspace in FOLDER, with these components.
ensure_rust() {
    local folder=$1 component
    shift
    # Where rustup puts it; not always in the PATH of a script.
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    if ! rust_is_new_enough "$folder"; then
        if command -v rustup >/dev/null; then
            say "installing a newer Rust"
            rustup toolchain install stable --profile minimal
            export RUSTUP_TOOLCHAIN=stable
        else
            local missing=()
            command -v curl >/dev/null || missing+=(curl)
            [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
            [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
            say "installing Rust"
            curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y -q --profile minimal --no-modify-path
            hash -r
        fi
        rust_is_new_enough "$folder" || fail "cargo is missing or too old, and a newer one could not be installed"
    fi
    for component in "$@"; do
        # `cargo clippy` and `cargo fmt` are programs of their own.
        cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
    done
    export PATH
}

# Runs a command as the user that the server runs as.
as_server() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && setpriv --reuid=postgres --regid=postgres --init-groups env -u PGHOST -u PGPORT "$@")
    else
        "$@"
    fi
}

# A port from below the range of outgoing connections that nobody listens on.
free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    printf '%s' "$port"
}

# postgres_init FOLDER: makes FOLDER (which the server's user must be able to reach) and a server in it, if there is none.
postgres_init() {
    local folder=$1
    [ ! -e "$folder/data/PG_VERSION" ] || return 0
    mkdir -p "$folder"
    chmod 700 "$folder"
    [ "$(id -u)" -ne 0 ] || chown postgres: "$folder"
    as_server "$(postgres_bin)/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null
}

postgres_is_running() {
    as_server "$(postgres_bin)/pg_ctl" -D "$1/data" status >/dev/null 2>&1
}

# postgres_start FOLDER [NAME=VALUE...]: starts the server with these settings unless it is running; its port is then
# what `postgres_port FOLDER` prints.
postgres_start() {
    local folder=$1 socket=$1 port setting options attempt
    shift
    # The kernel allows 107 bytes for the path of a socket; without one there is still TCP.
    [ ${#folder} -lt 85 ] || socket=''
    ! postgres_is_running "$folder" || return 0
    for attempt in 1 2 3 4 5; do
        port=$(free_port)
        options="-c port=$port -c listen_addresses=127.0.0.1 -c 'unix_socket_directories=$socket'"
        for setting in "$@"; do options+=" -c '$setting'"; done
        if as_server "$(postgres_bin)/pg_ctl" -D "$folder/data" -l "$folder/log" -w -t 60 -o "$options" start \
            </dev/null >/dev/null 2>&1; then
            return 0
        fi
        [ "$attempt" -eq 5 ] || grep -q 'Address already in use' "$folder/log" || break
    done
    tail -n 20 "$folder/log" >&2 || true
    fail "PostgreSQL did not start (its log: $folder/log)"
}

postgres_port() {
    sed -n 4p "$1/data/postmaster.pid"
}

# postgres_stop FOLDER [MODE]
postgres_stop() {
    ! postgres_is_running "$1" ||
        as_server "$(postgres_bin)/pg_ctl" -D "$1/data" -m "${2:-fast}" -w stop >/dev/null 2>&1 || true
}
