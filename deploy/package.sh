#!/usr/bin/env bash
# Makes the Debian package of the daemon, target/debian/auth-reconciler_VERSION_ARCHITECTURE.deb, and prints its path.
# It is for the release of Debian or Ubuntu that it is made on, and later ones.
#
# What is in it stands in crates/auth-reconciler/Cargo.toml. Arguments are handed to `cargo deb`, such as
# `--deb-version 0.1.0-2`. Where cargo-deb is missing it is installed below target/, in a few minutes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=postgres.sh
. deploy/postgres.sh

ensure_compiler
ensure_rust "$root"
PATH=$PATH:$root/target/tools/bin
command -v cargo-deb >/dev/null || {
    say "installing cargo-deb"
    # Not optimised, which would take several times as long to make and save seconds.
    cargo install cargo-deb --locked --debug --version '^3' --root target/tools --target-dir target/tools/build >&2
    rm -rf target/tools/build
}

AUTH_RECONCILER_COMMIT=$(git rev-parse --short HEAD 2>/dev/null || true)
export AUTH_RECONCILER_COMMIT
cargo build --release --workspace --locked --bin auth-reconciler >&2
program=target/release/auth-reconciler
pages=target/package
rm -rf "$pages"
mkdir -p "$pages/man"
"$program" man "$pages/man"
for shell in bash zsh fish; do "$program" completions "$shell" >"$pages/$shell"; done

cargo deb --package auth-reconciler --no-build --quiet "$@"
