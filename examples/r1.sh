#!/usr/bin/env bash
# DeepSeek-R1 in its four stages (arXiv v1, section 2.3; settings: Nature, Methods, and v2, appendix B).
#
#   examples/r1.sh [--small] [OUT]                the tiny base, four minutes; OUT is made, default runs/r1
#   BASE=Qwen/Qwen2.5-1.5B GPUS=8 examples/r1.sh
#
# BASE SEED PROMPTS and what stands in common.sh, and:
#   ZERO=CKPT         what drafts the cold start, R1-Zero in the paper (r1-zero.sh makes one; default: the base itself)
#   REFINE=CKPT|URL   a model that rewrites the drafts for people to read (default: none; see refine.sh)
#   GENERAL=FILE      examples of other tasks for stage 3, JSON lines (the paper: 200,000 beside 600,000 of reasoning)
#   PREFERENCE=CMD    a program for r1 reward --exec that says what people like better, for the last quarter of stage 4
# OUT then holds a run a stage. Interrupted, the same command goes on. --small is what the tests run.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=examples/common.sh
. "$here/common.sh"

small=
[ "${1:-}" != --small ] || { small=1 && shift; }
OUT=${1:-runs/r1}
BASE=${BASE:-tiny}
SEED=${SEED:-0}
settings
mkdir -p "$OUT"
prompts "$OUT"
if is_tiny; then
    # A cold start from a handful of examples, so that there is something left to learn.
    cold=${small:+40} && cold=${cold:-100} taught=${small:+60} && taught=${taught:-600}
    reason=${small:+6} && reason=${reason:-40} all=${small:+8} && all=${all:-20}
    cold_sft=(--epochs 3 --lr 5e-4) sft=()
    language=(--language en)
    questions() { r1 prompts -q sum --seed "$((SEED + $1))" --limit "$2"; }
    # Stands in for human taste: it dislikes answers that waver.
    PREFERENCE=${PREFERENCE:-'jq -c --unbuffered "{rid, reward: (if .completion | test(\"wait|等等|Check\") then 0 else 1 end)}"'}
else
    # Stage 1: "thousands" of examples. Stage 2: until it converges (v1, 2.3.2); the paper does not say how long. Stage 3:
    # 600,000 examples; as many as these questions give. Stage 4: 1,700 steps, 107 iterations of 16.
    cold=2000 taught=${TAUGHT:-100000} reason=$ITERATIONS all=107
    cold_sft=() sft=() # r1 sft's defaults: 2 epochs, 5e-5 falling to a tenth, 128 examples (v2, B.4.2)
    language=(--language) # of the question; added with weight 1 (Nature, "Reward design")
    questions() { r1 prompts -q "$PROMPTS" --shuffle --seed "$((SEED + $1))" --limit "$2"; }
fi

say "stage 1, cold start: a few long thoughts, right and readable, to fine-tune the base on (v1, 2.3.1; v2, B.3.2)"
# Several drafts a question at temperature 1; kept are those with the right answer, whole, in one language and without
# repetition; then they are rewritten for readers. What needs people there (second checks) has no command here.
if [ ! -e "$OUT/1-examples.jsonl" ]; then
    questions 1 "$((cold * 3))" |
        r1 sample "${ZERO:-$BASE}" - --group 4 --temperature 1 ${MAX_TOKENS:+--max-tokens "$MAX_TOKENS"} |
        r1 reward -q --format --accuracy |
        r1 filter --min-reward 2 --finish-reason stop --language-min 0.9 --language "$(is_tiny && echo en || echo auto)" \
            --max-repeat 0.2 --best-of first |
        if [ -n "${REFINE:-}" ]; then "$here/refine.sh" "$REFINE"; else cat; fi |
        awk -v most="$cold" 'NR <= most' > "$OUT/1-examples.part" # no head: what writes to one that has enough may die of it
    mv "$OUT/1-examples.part" "$OUT/1-examples.jsonl"
fi
r1 sft "$BASE" "$OUT/1-examples.jsonl" --out "$OUT/1-cold" "${cold_sft[@]}" > /dev/null

length=() # the tiny base's learning rate falls to the end; the paper's is constant
! is_tiny || length=(--total-steps "$reason")
say "stage 2, reasoning: reinforcement learning with a reward for staying in one language (v1, 2.3.2)"
make_run "$OUT/2-reasoning" --from "$OUT/1-cold" --seed "$SEED" ${PROMPTS:+--task "$PROMPTS"} "${length[@]}"
keep "$OUT/2-reasoning"
result Dev1 "$OUT/2-reasoning" # before its first step
learn "$OUT/2-reasoning" "$reason" "${JUDGE[@]}" "${language[@]}"
result Dev2 "$OUT/2-reasoning"

say "stage 3, rejection sampling: its right and readable answers fine-tune the base anew (v1, 2.3.3)"
# Dropped are wrong answers, mixed languages, long paragraphs and code in the thought. The thresholds are ours.
if [ ! -e "$OUT/3-examples.jsonl" ]; then
    questions 3 "$taught" |
        r1 sample "$OUT/2-reasoning" - --group 4 --temperature 1 |
        r1 reward -q --format --accuracy |
        r1 filter --min-reward 2 --finish-reason stop --language-min 0.9 --no-code-in-think --max-paragraph-chars 4000 \
            --language "$(is_tiny && echo en || echo auto)" -o "$OUT/3-examples.jsonl"
fi
r1 sft "$BASE" "$OUT/3-examples.jsonl" ${GENERAL:+"$GENERAL"} --out "$OUT/3-sft" "${sft[@]}" > /dev/null

say "stage 4, all scenarios: rules and language, and in the last quarter a preference too (v1, 2.3.4; Nature, Methods)"
# At temperature 0.7, for higher ones gave incoherent text. The paper's preference is that of two reward models, in the
# last 400 of 1,700 steps because longer training on it hacked it (v2, B.5). r1 trains no reward models yet: --exec runs a
# program of yours instead; `--judge URL` would be a model that compares with the reference answer.
SAMPLE+=(--temperature 0.7)
! is_tiny || length=(--total-steps "$all")
make_run "$OUT/4-all" --from "$OUT/3-sft" --seed "$SEED" ${PROMPTS:+--task "$PROMPTS"} "${length[@]}"
keep "$OUT/4-all"
result Dev3 "$OUT/4-all"
learn "$OUT/4-all" "$((all - all / 4))" "${JUDGE[@]}" "${language[@]}"
if [ -n "${PREFERENCE:-}" ]; then
    learn "$OUT/4-all" "$all" "${JUDGE[@]}" "${language[@]}" --exec "preference=$PREFERENCE"
else
    say "no PREFERENCE: the last quarter goes by rules and language as well"
    learn "$OUT/4-all" "$all" "${JUDGE[@]}" "${language[@]}"
fi
result R1 "$OUT/4-all"
table Dev1 Dev2 Dev3 R1 # the paper's names for what the stages make (Nature, table 2)
