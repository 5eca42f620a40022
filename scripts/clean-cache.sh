#!/bin/sh
# Removes what scripts/servers.sh and scripts/tools.sh keep outside the repository, and nothing else that may be there.
set -eu

if [ "$(id -u)" -eq 0 ]; then
    cache=${MAYFLY_CACHE:-/var/cache/mayfly}
else
    cache=${MAYFLY_CACHE:-$HOME/.cache/mayfly}
fi

for name in tools pg mysql-sid mariadb-plugins; do
    tree=$cache/$name
    [ -e "$tree" ] || continue
    printf '%s\n' "clean-cache: removing $tree" >&2
    # debootstrap's tree belongs to root.
    rm -rf "$tree" 2>/dev/null || sudo rm -rf "$tree"
done
rmdir "$cache" 2>/dev/null || true
