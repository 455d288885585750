#!/usr/bin/env bash
# Reflection in miniature: does pure reinforcement learning make a searcher try, check and return ("wait") more often,
# and does that pay? (DeepSeek-R1, v2 appendix C.2: reflective words rise five- to sevenfold during R1-Zero's training.)
#
#   examples/reflection.sh [--small] [OUT]        OUT is made; default: runs/reflection
#
# The sum task of the tiny base is no place to look for this: its steps become reliable, and checking stops paying. Here
# the task is a small Countdown, where one guess is right by luck, and a try, a check and another try is what helps; the
# base is pretrained on searches, most of which end too early (examples/reflection/corpus.py; the idea is that of Stream
# of Search, Gandhi et al. 2024, arXiv 2404.03683, and of the four habits, Gandhi et al. 2025, arXiv 2503.01307).
# About 7 minutes of CPU. Every rollout is kept in OUT, every number of OUT/results is computed from them.
#
# SEEDS="0 1 2" UPDATES=50 PRETRAINING=1100 RESULTS=DIR set what they say. --small is what the tests run: all of it, with
# a base that has learnt nothing.
set -euo pipefail

UPDATES=${UPDATES:-50} PRETRAINING=${PRETRAINING:-1100} SEEDS=${SEEDS:-0 1 2} TEST=100 SAMPLES=8
if [ "${1:-}" = --small ]; then
    shift
    UPDATES=4 PRETRAINING=20 SEEDS=0 TEST=4 SAMPLES=2
fi
OUT=${1:-runs/reflection}
RESULTS=${RESULTS:-$OUT/results}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" # the programs of examples/reflection are the package `reflection`
export OMP_NUM_THREADS=1 # several runs at a time, and the same numbers again
mkdir -p "$OUT" "$RESULTS"

# No reward for format: in the corpus only searches have think tags, so that it would be one for searching.
judge() { r1 reward -q --python "right=$here/reflection/reward.py:score"; }
test_set() { r1 sample -q "$1" "$OUT/test.jsonl" --group "$SAMPLES" | judge; }

learn() { # learn SEED: from the base by reinforcement learning alone; every rollout is kept
    run=$OUT/seed-$1 # not local: the trap needs it
    r1 init -q "$run" --from "$OUT/base" --task "$OUT/train.jsonl" --seed "$1" --total-steps "$UPDATES"
    trap 'r1 serve "$run" --stop -q' EXIT
    r1 serve -q "$run" --detach
    test_set "$run" > "$run/before.jsonl"
    for ((step = 1; step <= UPDATES; step++)); do
        quiet=$( ((step % 20)) && echo -q || true) # one line every twenty updates
        # shellcheck disable=SC2086
        r1 sample -q "$run" | judge | tee -a "$run/rollouts.jsonl" | r1 grpo-step $quiet > /dev/null
    done
    test_set "$run" > "$run/after.jsonl"
}

echo "== questions; sets of numbers that are held out occur neither in the corpus nor in training" >&2
python -m reflection.questions train > "$OUT/train.jsonl"
python -m reflection.questions test "$TEST" > "$OUT/test.jsonl"

echo "== a base, pretrained from scratch for $PRETRAINING updates" >&2
[ -e "$OUT/base/r1.json" ] || python -m reflection.pretrain --steps "$PRETRAINING" --out "$OUT/base"

echo "== what a forced guess and a forced thought of the base are worth" >&2
for begin in answer think; do
    r1 sample -q "$OUT/base" "$OUT/test.jsonl" --prefill "<$begin>" --group "$SAMPLES" -o "$OUT/forced-$begin.jsonl"
done

echo "== seeds $SEEDS at the same time: $UPDATES updates of 8 questions x 16 samples each, rewarded for right answers alone" >&2
learners=()
trap 'kill "${learners[@]}" 2> /dev/null || true; wait' EXIT
for seed in $SEEDS; do
    (learn "$seed") &
    learners+=($!)
done
for learner in "${learners[@]}"; do wait "$learner"; done
trap - EXIT

python -m reflection.report "$OUT" "$RESULTS"
cat "$RESULTS/reflection.md"
