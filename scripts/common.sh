# Sourced by the scripts beside it; $script is the name they speak under.

say() { printf '%s\n' "$script: $*" >&2; }
fail() {
    say "$*"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        fail "root (or sudo) is needed once, for: $*"
    fi
}

# Lists are fetched only when an installation without them does not work.
apt_install() { # PACKAGE…
    say "installing $*"
    # At run level 1 Debian's packages start no service.
    set -- env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    as_root "$@" >/dev/null 2>&1 && return
    as_root apt-get update -qq >&2 || fail "apt-get update failed; see above"
    as_root "$@" >&2 || fail "apt-get could not install the packages; see above"
}

# Servers and tools are kept outside the repository.
cache_directory() {
    if [ "$(id -u)" -eq 0 ]; then
        printf '%s\n' "${MAYFLY_CACHE:-/var/cache/mayfly}"
    else
        printf '%s\n' "${MAYFLY_CACHE:-$HOME/.cache/mayfly}"
    fi
}
