#!/usr/bin/env bash
# Rewrites drafts for people to read, as DeepSeek-V3 did for the cold start (arXiv v2, appendix B.3.2): r1 sample and jq.
#
#   examples/refine.sh CKPT|URL < rewarded.jsonl > examples.jsonl
#
# The drafts are right answers (r1 filter --correct). What comes back is judged anew, and a rewriting that lost the answer
# is left out. MODEL=NAME is the model of a URL.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: examples/refine.sh CKPT|URL < rewarded.jsonl" >&2 && exit 2; }

ask='Below are a question and a draft of its solution. Rewrite the draft for a reader: in the language of the question, in
the first person, as a natural train of thought. Keep every step and every check, add none, and keep the answer. Give
the thinking in <think> </think> and after it the answer in <answer> </answer>, and nothing else.'

# The keys of a prompt record that r1 does not know, question and draft here, travel along.
jq -c --arg ask "$ask" '{id, answer, task, question: .prompt, draft: .completion,
        prompt: "\($ask)\n\nQuestion: \(.prompt)\n\nDraft:\n\(.completion)"}' |
    r1 sample -q "$1" - --group 1 --temperature 0.7 ${MODEL:+--model "$MODEL"} |
    r1 reward -q --format --accuracy |
    r1 filter --correct --finish-reason stop --min-reward 2 |
    jq -c '{id, prompt: .question, answer, task, completion, draft}'
