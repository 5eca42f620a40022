#!/bin/sh
# Draws where processor time goes while the benchmark runs:
#
#   scripts/flamegraph.sh OUT.svg TITLE PROGRAM [ARGUMENT…]
#
# for example, with symbols in the program (CARGO_PROFILE_BENCH_STRIP=none CARGO_PROFILE_BENCH_DEBUG=line-tables-only):
#
#   scripts/flamegraph.sh docs/benchmarks/issuing-flame.svg "Issuing, 16 callers" \
#       target/release/deps/bench-… --bench issuing --only=postgres.scram-1 --callers=16 --rounds=3
#
# Samples every thread of the program and the servers it starts (perf, 297 times a second and processor, stacks unwound by
# DWARF). The width of a box is the time spent in it and in what it calls; a box for less than a thousandth of all is left out.
# THREADS=tokio-rt-worker,store-writer limits it to threads of these names.
set -eu

script=flamegraph
. "$(dirname "$0")/common.sh"
[ $# -ge 3 ] || fail "usage: scripts/flamegraph.sh OUT.svg TITLE PROGRAM [ARGUMENT…]"
out=$1 title=$2
shift 2
have perf || fail "perf is needed: Debian's package is linux-perf"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
perf record -q -F 297 --call-graph dwarf,16384 -o "$work/perf.data" -- "$@" >&2
set -- --no-inline -F comm,ip,sym
[ -z "${THREADS:-}" ] || set -- "$@" --comm "$THREADS"
perf script -i "$work/perf.data" "$@" 2>/dev/null |
    awk -f "$(dirname "$0")/flamegraph-fold.awk" | LC_ALL=C sort |
    awk -v title="$title" -f "$(dirname "$0")/flamegraph-draw.awk" >"$out"
say "$out: $(wc -c <"$out") bytes"
