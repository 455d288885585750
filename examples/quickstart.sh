#!/usr/bin/env bash
# R1-Zero in pipes: pure reinforcement learning teaches the tiny base to think before it answers (a few minutes of CPU).
#
#   examples/quickstart.sh [RUN]          RUN is made; default: runs/zero
#
# STEPS=60 SEED=0 set how many updates and which seed. The reward is accuracy + 0.3 format, by rules alone; no example of
# thinking is ever shown. Everything else (8 questions x 16 samples, learning rate, schedule) is in RUN/run.json.
set -euo pipefail

RUN=${1:-runs/zero}
STEPS=${STEPS:-60}
SEED=${SEED:-0}

mkdir -p "$(dirname "$RUN")"
r1 init "$RUN" --from tiny --seed "$SEED" --total-steps "$STEPS"
r1 serve "$RUN" --detach                        # the pipe works without it too: slower, for every stage then loads the model
trap 'r1 serve "$RUN" --stop -q' EXIT

echo "== the base, on 200 held-out questions, 16 samples each"
r1 eval "$RUN" -o "$RUN/eval-base.json"

echo "== $STEPS updates of 8 questions x 16 samples"
for ((step = 1; step <= STEPS; step++)); do
    quiet=$( ((step % 5)) && echo -q || true)   # one line every five updates
    # shellcheck disable=SC2086
    r1 sample -q "$RUN" | r1 reward -q --format --accuracy --weight format=0.3 | r1 grpo-step $quiet > /dev/null
done

echo "== the trained policy, on the same held-out questions"
r1 eval "$RUN" -o "$RUN/eval-trained.json"

echo
r1 plot "$RUN"
echo "Before and after:"
r1 show "$RUN"/eval-base.json "$RUN"/eval-trained.json \
    -f pass@1 -f cons@16 -f pass@16 -f format -f tokens -f thinking_tokens
echo
echo "One of its answers:"
r1 sample -q "$RUN" --split test --questions 1 --group 1 --temperature 0.6 | r1 reward -q --format --accuracy | r1 show
