#!/bin/sh
# Makes the secrets that docker-compose.yml names: a password for each database account and the first administrator's
# token. What is there already is kept.
#
#   deploy/secrets.sh [DIRECTORY]     (default: deploy/secrets beside this script)
set -eu
directory=${1:-$(dirname "$0")/secrets}
mkdir -p "$directory"
chmod 0700 "$directory"
bytes=$(mktemp "$directory/.bytes.XXXXXX")
trap 'rm -f "$bytes"' EXIT

# The directory keeps others out; the files themselves must be readable by the containers' users.
keep() { # NAME, with the secret on standard input
    [ -s "$directory/$1" ] || (cat >"$directory/$1.new" && chmod 0644 "$directory/$1.new" && mv "$directory/$1.new" "$directory/$1")
}
encode() { base32 --wrap=0 | tr '[:upper:]' '[:lower:]'; }

for name in postgres-superuser postgres-mayfly mysql-root mysql-mayfly mariadb-root mariadb-mayfly; do
    head -c 20 /dev/urandom | encode | keep "$name"
done
# A token is mf_ and, in base 32, 256 random bits and the first three bytes of their SHA-256 digest.
head -c 32 /dev/urandom >"$bytes"
{
    printf 'mf_'
    { cat "$bytes" && sha256sum "$bytes" | cut -c 1-6 | tr '[:lower:]' '[:upper:]' | basenc --base16 --decode; } | encode
} | keep administrator-token
printf 'secrets: ready in %s\n' "$directory" >&2
