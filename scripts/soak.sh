#!/bin/sh
# Has servers killed, stopped and cut off under load for some minutes, and says in one line what came of it:
#
#   scripts/soak.sh crash    at every crash point and at random moments, on all engines
#                            MAYFLY_CRASH_KILLS: random kills (500); MAYFLY_CRASH_SEED: the seed of a run to repeat
#   scripts/soak.sh ha       three replicas on one store
#                            MAYFLY_HA_FAULTS: what goes wrong (80 things); MAYFLY_HA_SEED: the seed of a run to repeat
#
# The whole log is target/crash/log or target/ha/log. Ends with a failure when anything was left, lost, broken or violated.
set -eu

script=${1:-soak}
. "$(dirname "$0")/common.sh"
case $script in
    crash)
        test=crash::everything::killed_everywhere_and_at_any_moment_nothing_is_left_and_nothing_lost
        shown='^(sweep|soak|model|crash): ' sound='^crash: '
        ;;
    ha) test=ha::soak::replicas_endure_everything shown='^ha: ' sound='^ha: .* 0 violations' ;;
    *) fail "what is to be soaked? Known are: crash ha" ;;
esac
logs=target/$script
mkdir -p "$logs"
rm -f "$logs/failed"
say "building the tests"
cargo test --locked --quiet --test behaviour --no-run
{
    cargo test --locked --quiet --test behaviour -- --ignored --exact --nocapture "$test" 2>&1 || : >"$logs/failed"
} | tee "$logs/log" | grep --line-buffered -E "$shown" || :
if [ -e "$logs/failed" ]; then
    grep -E -A 4 'panicked at' "$logs/log" | head -n 60 >&2
    fail "the whole log is $logs/log"
fi
grep -qE "$sound" "$logs/log"
