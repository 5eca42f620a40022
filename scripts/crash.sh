#!/bin/sh
# Kills servers at every crash point and at random moments under load, on all engines, and says in one line what came of it:
#
#   scripts/crash.sh       MAYFLY_CRASH_KILLS: random kills (500); MAYFLY_CRASH_SEED: the seed of a run to repeat
#
# The whole log is target/crash/log. Ends with a failure when anything was left, lost or broken.
set -eu

logs=target/crash
test=crash::everything::killed_everywhere_and_at_any_moment_nothing_is_left_and_nothing_lost
mkdir -p "$logs"
rm -f "$logs/failed"
printf '%s\n' "crash: building the tests" >&2
cargo test --locked --quiet --test behaviour --no-run
{
    cargo test --locked --quiet --test behaviour -- --ignored --exact --nocapture "$test" 2>&1 || : >"$logs/failed"
} | tee "$logs/log" | grep --line-buffered -E '^(sweep|soak|crash): ' || :
if [ -e "$logs/failed" ]; then
    grep -E -A 4 'panicked at' "$logs/log" | head -n 60 >&2
    printf '%s\n' "crash: the whole log is $logs/log" >&2
    exit 1
fi
grep -q '^crash: ' "$logs/log"
