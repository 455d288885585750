#!/usr/bin/env bash
# The paper's table of results (v1, table 4; Nature, table 2): benchmarks by rows, checkpoints by columns, in Markdown.
#
#   examples/evaluate.sh [--small] NAME=CKPT...
#   examples/evaluate.sh base=tiny R1-Zero=runs/r1-zero/run
#   SETS='aime24 math500 gpqa' examples/evaluate.sh Qwen=Qwen/Qwen2.5-1.5B ours=runs/r1/4-all
#
# CKPT is whatever r1 eval takes, a URL too; `-` takes what an earlier call measured under that name. Without SETS: the
# tiny task for tiny bases and what was made of them, else the known sets that are judged by rules. Sampling is the
# paper's: temperature 0.6, top-p 0.95, at most 32,768 tokens, as many samples a question as it took of the set (v2,
# appendix D.1). Every judged sample is kept in EVALS (default runs/evaluations), and a call that was interrupted goes
# on from there.
set -euo pipefail

small=
[ "${1:-}" != --small ] || { small=1 && shift; }
[ $# -gt 0 ] || { echo "usage: examples/evaluate.sh [--small] NAME=CKPT..." >&2 && exit 2; }
EVALS=${EVALS:-runs/evaluations}
REAL='aime24 math500 gpqa livecodebench codeforces mmlu mmlu-pro ifeval'
mkdir -p "$EVALS"

# Whether a checkpoint has the tiny bases' task.
is_tiny() { case $1 in tiny | tiny-student) ;; *) [ "$(jq -r .source.task "$1/run.json" 2> /dev/null)" = sum ] ;; esac }

for column in "$@"; do
    name=${column%%=*} checkpoint=${column#*=}
    [ "$checkpoint" != - ] || continue
    for set in ${SETS:-$(is_tiny "$checkpoint" && echo sum || echo "$REAL")}; do
        [ ! -e "$EVALS/$name.$set.json" ] || continue
        if [ "$set" = sum ]; then
            r1 prompts -q sum --split test --limit "$([ -n "$small" ] && echo 20 || echo 200)" --seed 999 |
                r1 eval -q "$checkpoint" - -k "$([ -n "$small" ] && echo 4 || echo 16)" -o "$EVALS/$name.$set.json"
        else
            r1 eval "$checkpoint" --preset "$set" --items "$EVALS/$name.$set.jsonl" -o "$EVALS/$name.$set.json"
        fi
    done
done

# One row a set and metric. The last column is DeepSeek-R1's, where the paper prints one of that metric.
# shellcheck disable=SC2016 # jq's variables, not the shell's
rows='
def row($set; $title; $metric; $paper): {set: $set, title: $title, metric: $metric, paper: $paper};
[row("sum"; "Sums (pass@1)"; "pass@1"; null), row("sum"; "Sums (cons@k)"; "cons"; null),
 row("sum"; "Sums (format)"; "format"; null), row("sum"; "Sums (thinking tokens)"; "thinking_tokens"; null),
 row("aime24"; "AIME 2024 (pass@1)"; "pass@1"; 79.8), row("aime24"; "AIME 2024 (cons@64)"; "cons"; 86.7),
 row("math500"; "MATH-500 (pass@1)"; "pass@1"; 97.3), row("gpqa"; "GPQA Diamond (pass@1)"; "pass@1"; 71.5),
 row("livecodebench"; "LiveCodeBench (pass@1)"; "pass@1"; 65.9), row("codeforces"; "Codeforces (pass@1)"; "pass@1"; null),
 row("mmlu"; "MMLU (EM)"; "pass@1"; 90.8), row("mmlu-pro"; "MMLU-Pro (EM)"; "pass@1"; 84.0),
 row("ifeval"; "IF-Eval (prompt strict)"; "pass@1"; 83.3)]'
# shellcheck disable=SC2016
table='
def cell: if . == null then "-" elif . == "" then "" else . * 10 | round / 10 | tostring end;
(reduce inputs as $one ({}; .[$one.set][$one.name] = $one.found)) as $all
| "| Benchmark (metric) | \($names | join(" | ")) | DeepSeek-R1 |", "|---|\($names | map("---|") | add)---|",
  (rows[] | select($all[.set]) | . as $row
   | [$names[] | $all[$row.set][.] as $found
      | if $found == null then null
        elif $row.metric == "cons" then $found["cons@\($found.k)"] * 100
        elif $row.metric == "thinking_tokens" then $found.thinking_tokens
        else ($found[$row.metric] // null) | if . then . * 100 else . end end | cell]
   | "| \($row.title) | \(join(" | ")) | \($row.paper | cell) |")'
names=$(printf '%s\n' "${@%%=*}" | jq -R . | jq -s .)
for column in "$@"; do
    for file in "$EVALS/${column%%=*}".*.json; do
        [ -e "$file" ] || continue
        set=${file%.json} && set=${set##*.}
        jq -c --arg name "${column%%=*}" --arg set "$set" '{$name, $set, found: .}' "$file"
    done
done | jq -n -r --argjson names "$names" "def rows: $rows; $table"
