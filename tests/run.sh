#!/usr/bin/env bash
# Runs every check of the project on a fresh Debian or Ubuntu machine (or any other that has Rust, PostgreSQL and
# Docker): installs what is missing, starts a private PostgreSQL server and, if none answers, a private Docker engine,
# checks format, lints, documentation, scripts and tests (some on the oldest and the newest PostgreSQL, too), and cleans
# up whatever happens. Exit 0: all passed; the summary says what was skipped, because it cannot be had here.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=../deploy/postgres.sh
. deploy/postgres.sh
# shellcheck source=../deploy/docker.sh
. deploy/docker.sh

ensure_postgres
ensure_compiler
ensure_rust "$root" rustfmt clippy
command -v shellcheck >/dev/null || install_packages shellcheck
[ -x /usr/sbin/pgbouncer ] || install_packages pgbouncer

server=$(mktemp -d /tmp/auth-reconciler-tests.XXXXXX)
tools=$(mktemp -d /tmp/auth-reconciler-tools.XXXXXX)
engine=''
clean_up() {
    [ -z "$engine" ] || docker_stop "$engine"
    postgres_stop "$server" immediate
    rm -rf "$server" "$tools"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The metrics are tested with the real exporter, the alert rules with promtool.
if [ ! -x /usr/bin/prometheus-postgres-exporter ] || [ ! -x /usr/bin/promtool ]; then
    unpack_packages "$tools" prometheus-postgres-exporter prometheus
    export AUTH_RECONCILER_TEST_TOOLS=$tools
fi

say "starting a private PostgreSQL server"
postgres_init "$server"
postgres_start "$server" max_connections=200 fsync=on
AUTH_RECONCILER_TEST_DATABASE_URL="postgres://postgres@127.0.0.1:$(postgres_port "$server")/postgres"
export AUTH_RECONCILER_TEST_DATABASE_URL

# Tests that kill an engine start their own, so the programs are needed in any case.
ensure_docker
if ! AUTH_RECONCILER_TEST_DOCKER=$(docker_find); then
    say "starting a private Docker engine"
    engine=$(mktemp -d /tmp/auth-reconciler-engine.XXXXXX)
    docker_start "$engine"
    AUTH_RECONCILER_TEST_DOCKER=unix://$engine/docker.sock
fi
export AUTH_RECONCILER_TEST_DOCKER

summary=()
failed=0

# The daemon is tested with a real Podman, too: that one needs root, and a system that has it.
if ! command -v podman >/dev/null && ! (install_packages podman crun); then
    say "Podman could not be installed: it is NOT tested"
    summary+=("SKIPPED           Podman is not installed")
fi

# The unit is judged by systemd's own program, which needs no running systemd.
if ! command -v systemd-analyze >/dev/null && ! (install_packages systemd); then
    say "systemd could not be installed: the unit is NOT checked"
    summary+=("SKIPPED           systemd is not installed")
fi

# What each check printed, for those that fail to be told once more at the end.
logs=$tools/checks
mkdir "$logs"
told=()

# step NAME COMMAND...: runs a check, notes how it ended and how long it took, and lets the next one run.
step() {
    local name=$1 begin=$SECONDS result=passed
    shift
    say "$name: $*"
    "$@" </dev/null 2>&1 | tee "$logs/$name" || {
        result=FAILED
        failed=1
        told+=("$name")
    }
    summary+=("$(printf '%-8s %4d s  %s' "$result" $((SECONDS - begin)) "$name")")
    [ "$result" = passed ]
}

# tell_again NAME: why a check failed: what failed tests said, or its last lines.
tell_again() {
    local tests
    tests=$(sed -n '/^failures:$/,/^test result: /p' "$logs/$1")
    printf '\n---- %s: %s\n' "$1" 'why it failed'
    if [ -n "$tests" ]; then
        # Of the output of a daemon the end tells most.
        tail -n 300 <<<"$tests"
    else
        tail -n 60 "$logs/$1"
    fi
}

# other_version VERSION: the tests of what differs between versions of PostgreSQL, on that one.
other_version() {
    local begin=$SECONDS ended=0
    tests/on_postgres.sh "$1" </dev/null 2>&1 | tee "$logs/PostgreSQL $1" || ended=$?
    case $ended in
        0) summary+=("$(printf '%-8s %4d s  PostgreSQL %s' passed $((SECONDS - begin)) "$1")") ;;
        75) summary+=("SKIPPED           PostgreSQL $1 cannot be had here") ;;
        *)
            summary+=("$(printf '%-8s %4d s  PostgreSQL %s' FAILED $((SECONDS - begin)) "$1")")
            failed=1
            told+=("PostgreSQL $1")
            ;;
    esac
}

mapfile -t scripts < <(find . -path ./target -prune -o -path ./.git -prune -o -name '*.sh' -print | sort)

step "shell scripts" shellcheck -x -P SCRIPTDIR .ci/run "${scripts[@]}" || true
step "format" cargo fmt --all --check || true
step "lints" cargo clippy --workspace --all-targets --locked -- -D warnings || true
step "documentation" env RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked || true
# The integration tests wait more than they compute.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}"
if step "build" cargo build --workspace --locked; then
    step "tests" cargo test --workspace --locked --no-fail-fast || true
    # The oldest that is supported, and the newest there is.
    other_version 14
    other_version 18
fi

for name in "${told[@]}"; do
    tell_again "$name"
done
printf '\n'
printf '%s\n' "${summary[@]}"
if [ "$failed" -ne 0 ]; then
    printf '\nsome checks FAILED\n'
    exit 1
fi
printf '\nall checks passed\n'
