# Guards one throwaway server, a database's or Mayfly itself: owns its directory, runs what it is told on standard input,
# and when that closes, because whoever started it is done or dead, ends the server and removes the directory.
# Directories below servers/ may have guards of their own, whose turn is before ours.
#   $1  the directory; created here, so that it belongs to the user the server runs as
#   $2  the signal that ends the server when nobody needs its data any more
# One command a line, shell-quoted: run PROGRAM ARG… | serve PROGRAM ARG… | end SIGNAL. One reply a line: a status.
set -u
umask 077
directory=$1
farewell=$2
runner=

end() {
    [ -n "$runner" ] || return 0
    [ -s "$directory/exited" ] || kill -s "$1" "$(cat "$directory/pid")" 2>/dev/null
    wait "$runner"
    runner=
}

serve() {
    rm -f "$directory/pid" "$directory/exited"
    (
        "$@" </dev/null >>"$directory/log" 2>&1 &
        echo "$!" >"$directory/pid"
        wait "$!"
        echo "$?" >"$directory/exited"
    ) >/dev/null &
    runner=$!
    until [ -s "$directory/pid" ]; do sleep 0.01; done
}

# Each of them finds its server by files that must not be removed under its hands. Half a minute at most.
after_others() {
    left=300
    while [ "$left" -gt 0 ]; do
        set -- "$directory"/servers/*/guarded
        [ -e "$1" ] || return 0
        sleep 0.1
        left=$((left - 1))
    done
}

finish() {
    end "$farewell"
    after_others
    rm -rf "$directory" || { sleep 1 && rm -rf "$directory"; }
}

mkdir "$directory" && : >"$directory/guarded" || exit
trap finish EXIT
trap 'exit 1' HUP INT TERM
trap : PIPE
echo 0
while IFS= read -r line; do
    eval "set -- $line"
    verb=$1
    shift
    case $verb in
        run) "$@" </dev/null >>"$directory/log" 2>&1 ;;
        serve) serve "$@" ;;
        end) end "$@" ;;
    esac
    echo "$?"
done
