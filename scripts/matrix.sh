#!/bin/sh
# Runs the integration tests once for each database version Mayfly is tested with, and prints one line a version:
#
#   scripts/matrix.sh [FILTER]     FILTER: run only tests whose names contain it
#
# Stops at the first version that fails and shows the end of its log; all logs are in target/matrix/. The versions come
# from scripts/servers.sh; PostgreSQL 15 is the system's own package (Debian 12) and is passed over where there is none.
set -eu

filter=${1:-}
logs=target/matrix
script=matrix
. "$(dirname "$0")/common.sh"
cache=$(cache_directory)

scripts/servers.sh postgres mariadb mysql postgres-16 postgres-17 postgres-18
say "building the tests"
cargo test --quiet --test behaviour --no-run
mkdir -p "$logs"

run() { # TITLE ENGINE [VARIABLE=VALUE]
    title=$1 engine=$2
    shift 2
    log=$logs/$(printf '%s' "$title" | tr 'A-Z ' 'a-z-').log
    begun=$(date +%s)
    if env "$@" MAYFLY_TEST_ENGINES="$engine" cargo test --test behaviour -- ${filter:+"$filter"} >"$log" 2>&1; then
        verdict=ok
    else
        verdict=FAILED
    fi
    passed=$(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed.*/\1 passed, \2 failed/p' "$log" | tail -n 1)
    printf '%-18s %-7s %-24s %4ss\n' "$title" "$verdict" "${passed:-no test ran}" "$(($(date +%s) - begun))"
    if [ "$verdict" != ok ]; then
        tail -n 60 "$log" >&2
        say "the whole log is $log"
        exit 1
    fi
}

# What the server found on the PATH says of itself, such as 10.11.
version_of() {
    "$1" --version 2>/dev/null | sed -n 's/.*Ver \([0-9]*\.[0-9]*\).*/\1/p'
}

if [ -x /usr/lib/postgresql/15/bin/postgres ]; then
    run "PostgreSQL 15" postgres MAYFLY_POSTGRES_BIN=/usr/lib/postgresql/15/bin
else
    printf '%-18s %s\n' "PostgreSQL 15" "not run: not installed here"
fi
for major in 16 17 18; do
    run "PostgreSQL $major" postgres "MAYFLY_POSTGRES_BIN=$cache/pg/$major/native/bin"
done
PATH=$PATH:/usr/sbin
run "MariaDB $(version_of mariadbd)" mariadb MAYFLY_CACHE="$cache"
run "MySQL 9" mysql MAYFLY_CACHE="$cache"
