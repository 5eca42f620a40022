#!/bin/sh
# Lets everything go wrong with three replicas on one store, under load, and says in one line what came of it:
#
#   scripts/ha.sh          MAYFLY_HA_FAULTS: what goes wrong (80 things); MAYFLY_HA_SEED: the seed of a run to repeat
#
# The whole log is target/ha/log. Ends with a failure when anything was violated.
set -eu

logs=target/ha
test=ha::soak::replicas_endure_everything
mkdir -p "$logs"
rm -f "$logs/failed"
printf '%s\n' "ha: building the tests" >&2
cargo test --locked --quiet --test behaviour --no-run
{
    cargo test --locked --quiet --test behaviour -- --ignored --exact --nocapture "$test" 2>&1 || : >"$logs/failed"
} | tee "$logs/log" | grep --line-buffered -E '^ha: ' || :
if [ -e "$logs/failed" ]; then
    grep -E -A 4 'panicked at' "$logs/log" | head -n 60 >&2
    printf '%s\n' "ha: the whole log is $logs/log" >&2
    exit 1
fi
grep -q '^ha: .* 0 violations' "$logs/log"
