#!/usr/bin/env bash
# Distillation: a small model is fine-tuned on a reasoning model's answers, and on nothing else (arXiv v1, section 2.4).
#
#   examples/distill.sh [--small] [OUT]           the tiny student of a tiny teacher, a minute; default runs/distill
#   STUDENT=qwen-7b TEACHER=https://host/v1 GPUS=8 examples/distill.sh
#   STUDENT=qwen-7b EXAMPLES=curated.jsonl GPUS=8 examples/distill.sh
#
# STUDENT is one of the paper's six (below) or tiny. TEACHER is a run, a model or a URL, asked PROMPTS (see common.sh);
# EXAMPLES=FILE are rollouts that are there already (the paper: 800,000). Interrupted, the same command goes on.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=examples/common.sh
. "$here/common.sh"

small=
[ "${1:-}" != --small ] || { small=1 && shift; }
OUT=${1:-runs/distill}
STUDENT=${STUDENT:-tiny}
# Bases and learning rates of v2, appendix B.4.3, table 6; 2 to 3 epochs, a cosine to a tenth, 64 examples an update and
# 32,768 tokens of context for all. Qwen2.5-Math was made for 4,096: give it a longer rope first, or leave out what is
# too long by --max-length.
case $STUDENT in
    tiny) BASE=tiny-student rate=2e-3 epochs=$([ -n "$small" ] && echo 1 || echo 4) ;;
    qwen-1.5b) BASE=Qwen/Qwen2.5-Math-1.5B rate=1e-4 ;;
    qwen-7b) BASE=Qwen/Qwen2.5-Math-7B rate=8e-5 ;;
    qwen-14b) BASE=Qwen/Qwen2.5-14B rate=7e-5 ;;
    qwen-32b) BASE=Qwen/Qwen2.5-32B rate=6e-5 ;;
    llama-8b) BASE=meta-llama/Llama-3.1-8B rate=5e-5 ;;
    llama-70b) BASE=meta-llama/Llama-3.3-70B-Instruct rate=2e-5 ;;
    *) echo "distill.sh: no student $STUDENT; expected tiny, qwen-1.5b, -7b, -14b, -32b, llama-8b or llama-70b" >&2 && exit 2 ;;
esac
mkdir -p "$OUT"
prompts "$OUT"
judge='--format --accuracy'
pick='--correct --min-reward 2 --finish-reason stop' # a checked answer, in its format, that came to its end

if is_tiny; then
    count=$([ -n "$small" ] && echo 60 || echo 1200)
    PROMPTS=$OUT/prompts.jsonl
    [ -e "$PROMPTS" ] || r1 prompts sum --seed 300 --limit "$count" -o "$PROMPTS"
    if [ -z "${TEACHER:-}${EXAMPLES:-}" ]; then
        say "a teacher: the tiny base, fine-tuned on its own right answers (v1, 2.3.3)"
        TEACHER=$OUT/teacher
        # shellcheck disable=SC2086
        [ -e "$TEACHER.jsonl" ] ||
            { r1 prompts -q sum --seed 301 --limit "$((count / 2))" | r1 sample tiny - --group 8 --temperature 1 |
                r1 reward -q $judge | r1 filter $pick --language-min 0.9 --language en --best-of shortest -o "$TEACHER.jsonl"; }
        r1 sft tiny "$TEACHER.jsonl" --out "$TEACHER" > /dev/null
    fi
fi

say "$BASE learns by fine-tuning alone"
task=() # a tiny student has one of its own
is_tiny || [ -z "${PROMPTS:-}" ] || task=(--task "$PROMPTS")
make_run "$OUT/student" --from "$BASE" "${task[@]}"
result base "$BASE"
is_tiny || keep "$OUT/student" # a real one is trained by the resident backend, on all GPUS
if [ -n "${EXAMPLES:-}" ]; then
    r1 distill "$OUT/student" "$EXAMPLES" --lr "$rate" --epochs "${epochs:-3}" > /dev/null
else
    r1 distill "$OUT/student" "$PROMPTS" --teacher "${TEACHER:?a run, a model or a URL}" --sample '--group 4 --temperature 1' \
        --reward "$judge" --filter "$pick" --lr "$rate" --epochs "${epochs:-3}" > /dev/null
fi
result distilled "$OUT/student"
table base distilled
