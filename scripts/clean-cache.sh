#!/bin/sh
# Removes what scripts/servers.sh and scripts/tools.sh keep outside the repository, and nothing else that may be there.
set -eu

script=clean-cache
. "$(dirname "$0")/common.sh"
cache=$(cache_directory)

for tree in "$cache/tools" "$cache/pg" "$cache/mysql-sid" "$cache/mariadb-plugins" "$cache"/oidc-provider-*; do
    [ -e "$tree" ] || continue
    say "removing $tree"
    # debootstrap's tree belongs to root.
    rm -rf "$tree" 2>/dev/null || as_root rm -rf "$tree"
done
rmdir "$cache" 2>/dev/null || true
