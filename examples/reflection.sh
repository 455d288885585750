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
# About 12 minutes on two cores. Every rollout is kept in OUT, every number of OUT/results is computed from them.
#
# SEEDS="0 1 2" UPDATES=60 PRETRAINING=1800 RESULTS=DIR set what they say. --small is what the tests run: all of it, with
# a base that has learnt nothing.
set -euo pipefail

UPDATES=${UPDATES:-60} PRETRAINING=${PRETRAINING:-1800} SEEDS=${SEEDS:-0 1 2} TEST=100 SAMPLES=8
if [ "${1:-}" = --small ]; then
    shift
    UPDATES=2 PRETRAINING=20 SEEDS=0 TEST=4 SAMPLES=2
fi
OUT=${1:-runs/reflection}
RESULTS=${RESULTS:-$OUT/results}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" # the programs of examples/reflection are the package `reflection`
mkdir -p "$OUT" "$RESULTS"

judge() { r1 reward -q --python "right=$here/reflection/reward.py:score" --format --weight format=0.2; }
serving=
trap '[ -z "$serving" ] || r1 serve "$serving" --stop -q' EXIT

echo "== questions; sets of numbers that are held out occur neither in the corpus nor in training" >&2
python -m reflection.questions train 4000 > "$OUT/train.jsonl"
python -m reflection.questions test "$TEST" > "$OUT/test.jsonl"

echo "== a base, pretrained from scratch for $PRETRAINING updates" >&2
[ -e "$OUT/base/r1.json" ] || python -m reflection.pretrain --steps "$PRETRAINING" --updates "$UPDATES" --out "$OUT/base"

echo "== what a forced guess and a forced thought of the base are worth" >&2
for begin in answer think; do
    r1 sample -q "$OUT/base" "$OUT/test.jsonl" --prefill "<$begin>" --group "$SAMPLES" -o "$OUT/forced-$begin.jsonl"
done

for seed in $SEEDS; do
    run=$OUT/seed-$seed
    echo "== seed $seed: $UPDATES updates of 8 questions x 16 samples, rewards by rules alone" >&2
    r1 init -q "$run" --from "$OUT/base" --task "$OUT/train.jsonl" --seed "$seed"
    r1 serve -q "$run" --detach
    serving=$run
    r1 sample -q "$run" "$OUT/test.jsonl" --group "$SAMPLES" | judge > "$run/before.jsonl"
    for ((step = 1; step <= UPDATES; step++)); do
        quiet=$( ((step % 10)) && echo -q || true) # one line every ten updates
        # shellcheck disable=SC2086
        r1 sample -q "$run" | judge | tee -a "$run/rollouts.jsonl" | r1 grpo-step $quiet > /dev/null
    done
    r1 sample -q "$run" "$OUT/test.jsonl" --group "$SAMPLES" | judge > "$run/after.jsonl"
    r1 serve "$run" --stop -q
    serving=
done

python -m reflection.report "$OUT" "$RESULTS"
cat "$RESULTS/reflection.md"
