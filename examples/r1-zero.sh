#!/usr/bin/env bash
# DeepSeek-R1-Zero: reinforcement learning on a base, without one worked example (arXiv v1, section 2.2).
#
#   examples/r1-zero.sh [--small] [OUT]           the tiny base, two minutes; OUT is made, default runs/r1-zero
#   BASE=Qwen/Qwen2.5-1.5B GPUS=8 PROMPTS=math.jsonl examples/r1-zero.sh
#
# BASE SEED ITERATIONS PROMPTS and what stands in common.sh set the rest. Interrupted, the same command goes on. --small
# is what the tests run: it shows that everything works, and learns next to nothing.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=examples/common.sh
. "$here/common.sh"

small=
[ "${1:-}" != --small ] || { small=1 && shift; }
OUT=${1:-runs/r1-zero}
BASE=${BASE:-tiny}
settings
# Of the paper's 10,400 steps (650 iterations of 16) the first 8,200 had outputs of up to 32,768 tokens, the others of up
# to 65,536: ITERATIONS=512, then the same command without it and with MAX_TOKENS=65536, where the context allows it.
ITERATIONS=${ITERATIONS:-$([ -n "$small" ] && echo 8 || echo 60)}
length=() # the tiny base's learning rate falls to the end; the paper's is constant
! is_tiny || length=(--total-steps "$ITERATIONS")
mkdir -p "$OUT"
prompts "$OUT"

make_run "$OUT/run" --from "$BASE" --seed "${SEED:-0}" ${PROMPTS:+--task "$PROMPTS"} "${length[@]}"
keep "$OUT/run"
result base "$OUT/run" # as long as nothing was learnt: what is measured already is not measured again
say "$ITERATIONS iterations of reinforcement learning; rewards by rules alone (v1, 2.2.2)"
learn "$OUT/run" "$ITERATIONS" "${JUDGE[@]}"
result "R1-Zero-$ITERATIONS" "$OUT/run"
r1 plot "$OUT/run"
table base "R1-Zero-$ITERATIONS"
