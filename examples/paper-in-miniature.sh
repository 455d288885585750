#!/usr/bin/env bash
# The findings of the DeepSeek-R1 paper on a model of 0.29M parameters: what the paper says, what is measured here.
#
#   examples/paper-in-miniature.sh [--small] [OUT]     runs everything, then writes examples/README.md from the figures
#
# About 33 CPU-minutes in LANES=2 lanes. OUT (default runs/miniature) keeps every run; interrupted, the same command goes
# on with what is missing. SEEDS='0 1 2' are those of the reinforcement learning. --small runs one seed for a few
# updates, shows that everything works, and writes results and page to OUT instead.
#
# What counts as "holds" was written down in miniature/findings.py before this was run, and computes the verdicts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

small=
if [ "${1:-}" = --small ]; then
    small=1
    export SEEDS=${SEEDS:-0} UPDATES=4 HALFWAY=2 SECOND=4 ALONE=4 COLD=20 TAUGHT=20 EPOCHS=1 K=2 HELD=12 RATES=4e-4
    shift
fi
export SEEDS=${SEEDS:-0 1 2}
# Updates of 8 questions x 16 samples: of the base, where it is measured on the way, of the second stage, of the student.
export UPDATES=${UPDATES:-45} HALFWAY=${HALFWAY:-15} SECOND=${SECOND:-20} ALONE=${ALONE:-60}
export COLD=${COLD:-100} TAUGHT=${TAUGHT:-900} EPOCHS=${EPOCHS:-4} # examples; questions x 4 samples; passes
export K=${K:-16} HELD=${HELD:-200} # samples of so many held-out questions
export OMP_NUM_THREADS=1
export RATES=${RATES:-2e-4 4e-4 8e-4} # learning rates that the student's own reinforcement learning gets to try

measure() { # RUN NAME [ARGS]: the held-out questions; temperature 0.6 and top-p 0.95 (v2, D.1) unless ARGS say otherwise
    r1 eval -q "$1" held-out.jsonl -k "$K" "${@:3}" --items "$2.part" > /dev/null
    # Of each sample what the findings are about.
    jq -c '{id, answer, task, completion, completion_ids, finish, rewards}' "$2.part" > "$2.jsonl"
    rm "$2.part"
}
learn() { # RUN FROM TO [REWARDS]: accuracy + 0.3 format, and what else is given
    local i
    for ((i = $2; i < $3; i++)); do
        r1 sample -q "$1" "${SAMPLE[@]}" | r1 reward -q --accuracy --format "${@:4}" | r1 grpo-step -q "${STEP[@]}" > /dev/null
    done
}
make_run() { # RUN BASE UPDATES: kept in memory by a child of this process, so that its CPU time is counted
    r1 init -q "$1" --from "$2" --seed "$seed" --total-steps "$3"
    r1 serve -q "$1" &
    backend=$!
    until [ -e "$1/serve.json" ]; do
        kill -0 $backend 2> /dev/null || { echo "the backend of $1 did not start" >&2 && exit 1; }
        sleep 0.1
    done
}
let_go() { r1 serve -q "$1" --stop && wait "$backend" && backend=; }
LIGHT=(--weight format=0.3)
WATCHED=(--language en --weight language=0) # measured and not rewarded
ENGLISH=(--language en) # with weight 1, as the paper adds it
SAMPLE=() STEP=()

piece() {
    local name=$1 seed=$2 run=$1-$2
    case $name in
        base)
            measure tiny base
            measure tiny-student student-base
            ;;
        zero) # pure reinforcement learning (v1, 2.2)
            make_run "$run" tiny "$UPDATES"
            learn "$run" 0 "$HALFWAY" "${LIGHT[@]}" "${WATCHED[@]}"
            measure "$run" "$run-halfway"
            learn "$run" "$HALFWAY" "$UPDATES" "${LIGHT[@]}" "${WATCHED[@]}"
            measure "$run" "$run"
            let_go "$run"
            ;;
        language) # the same with the language reward (v1, 2.3.2; v2, B.6)
            make_run "$run" tiny "$UPDATES"
            learn "$run" 0 "$HALFWAY" "${LIGHT[@]}" "${ENGLISH[@]}"
            measure "$run" "$run-halfway"
            learn "$run" "$HALFWAY" "$UPDATES" "${LIGHT[@]}" "${ENGLISH[@]}"
            measure "$run" "$run"
            let_go "$run"
            ;;
        heavy) # the format counts five times as much as the answer
            make_run "$run" tiny "$UPDATES"
            learn "$run" 0 "$HALFWAY" --weight format=5
            measure "$run" "$run-halfway"
            learn "$run" "$HALFWAY" "$UPDATES" --weight format=5
            measure "$run" "$run"
            let_go "$run"
            ;;
        stages) stages "$seed" ;;
        distilled) distilled "$seed" ;;
        student*) # reinforcement learning on the student itself, at the learning rate in the piece's name
            STEP=(--lr "${name#student}")
            make_run "$run" tiny-student "$ALONE"
            learn "$run" 0 "$ALONE" "${LIGHT[@]}"
            let_go "$run"
            times > "$run.training" # what it cost before it was measured
            measure "$run" "$run"
            ;;
    esac
}

stages() { # the four stages of R1 (v1, 2.3)
    # 1: right, formatted, English thoughts of the base itself, the first COLD of them.
    r1 prompts -q sum --seed "$((seed + 100))" --limit "$((COLD * 10))" | r1 sample -q tiny - --group 4 --temperature 1 |
        r1 reward -q --format --accuracy |
        r1 filter -q --min-reward 2 --finish-reason stop --language-min 0.9 --language en --max-repeat 0.2 --best-of first \
            > "cold-$seed.drafts"
    head -n "$COLD" "cold-$seed.drafts" > "cold-$seed.examples"
    r1 sft -q tiny "cold-$seed.examples" --out "cold-$seed" --epochs 3 --lr 5e-4 > /dev/null
    # 2: reinforcement learning with the language reward.
    make_run "reasoning-$seed" "cold-$seed" "$UPDATES"
    measure "reasoning-$seed" "cold-$seed"
    learn "reasoning-$seed" 0 "$HALFWAY" "${LIGHT[@]}" "${ENGLISH[@]}"
    measure "reasoning-$seed" "reasoning-$seed-halfway"
    learn "reasoning-$seed" "$HALFWAY" "$UPDATES" "${LIGHT[@]}" "${ENGLISH[@]}"
    measure "reasoning-$seed" "reasoning-$seed"
    measure "reasoning-$seed" "reasoning-$seed-hot" --temperature 1 --top-p 1
    # 3: its right answers fine-tune the base.
    r1 prompts -q sum --seed "$((seed + 200))" --limit "$TAUGHT" | r1 sample -q "reasoning-$seed" - --group 4 --temperature 1 |
        r1 reward -q --format --accuracy |
        r1 filter -q --min-reward 2 --finish-reason stop --language-min 0.9 --language en > "taught-$seed.examples"
    let_go "reasoning-$seed"
    r1 sft -q tiny "taught-$seed.examples" --out "taught-$seed" --epochs 2 > /dev/null
    # 4: reinforcement learning again, more gently, at temperature 0.7 (Nature, Methods).
    make_run "second-$seed" "taught-$seed" "$SECOND"
    measure "second-$seed" "taught-$seed"
    measure "second-$seed" "taught-$seed-hot" --temperature 1 --top-p 1
    SAMPLE=(--temperature 0.7) STEP=(--lr 1e-4)
    learn "second-$seed" 0 "$SECOND" "${LIGHT[@]}" "${ENGLISH[@]}"
    measure "second-$seed" "second-$seed"
    measure "second-$seed" "second-$seed-hot" --temperature 1 --top-p 1
    let_go "second-$seed"
}

distilled() { # the student learns from the answers of R1-Zero's language twin (v1, 2.4); the sampling is counted
    r1 prompts -q sum --seed "$((seed + 300))" --limit "$TAUGHT" | r1 sample -q "language-$seed" - --group 4 --temperature 1 |
        r1 reward -q --format --accuracy |
        r1 filter -q --min-reward 2 --finish-reason stop --language-min 0.9 --language en > "distilled-$seed.examples"
    r1 sft -q tiny-student "distilled-$seed.examples" --out "distilled-$seed" --epochs "$EPOCHS" --lr 2e-3 > /dev/null
    times > "distilled-$seed.training"
    measure "distilled-$seed" "distilled-$seed"
}

# One piece is one process: --piece OUT NAME SEED. What an interrupted try left behind is begun anew.
if [ "${1:-}" = --piece ]; then
    cd "$2"
    [ ! -e "$3-$4.times" ] || exit 0
    backend=
    trap '[ -z "$backend" ] || kill "$backend"' EXIT
    case $3 in stages) made=(cold reasoning taught second) ;; *) made=("$3") ;; esac
    for name in "${made[@]}"; do rm -rf "$name-$4" "$name-$4".* "$name-$4"-*; done
    piece "$3" "$4"
    times > "$3-$4.part"
    mv "$3-$4.part" "$3-$4.times"
    echo "done: $3, seed $4" >&2
    exit
fi

OUT=${1:-runs/miniature}
results=$here/results/miniature.json page=$here/README.md
[ -z "$small" ] || results=$OUT/results/miniature.json page=$OUT/README.md
mkdir -p "$OUT" "$(dirname "$results")"
[ -e "$OUT/held-out.jsonl" ] || r1 prompts -q sum --split test --limit "$HELD" --seed 999 -o "$OUT/held-out.jsonl"

lanes() { xargs -P "${LANES:-2}" -L 1 "$here/paper-in-miniature.sh" --piece "$OUT"; }
for seed in $SEEDS; do printf '%s\n' "stages $seed" "language $seed" "zero $seed" "heavy $seed"; done | { echo base 0 && cat; } | lanes
# The students come after those that they learn from.
for seed in $SEEDS; do
    for rate in $RATES; do echo "student$rate $seed"; done
    echo "distilled $seed"
done | lanes

"${PYTHON:-python3}" "$here/miniature/collect.py" "$OUT" "$results"
"${PYTHON:-python3}" "$here/miniature/page.py" "$results" "$page"
