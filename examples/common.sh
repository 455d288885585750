# shellcheck shell=bash
# What the scripts beside this one share; they source it, it is no program.
#
# Settings that any of them takes from the environment:
#   GPUS=8         the backend trains and samples on so many GPUs of this machine (default: r1's own choice)
#   R1_SERVE=CMD   a program that starts the backend of `CMD RUN` (cluster.sh is one); default: r1 serve RUN --detach
#   QUESTIONS MINIBATCHES MAX_TOKENS ITERATIONS   of reinforcement learning; see `settings`
#   PROMPTS=FILE   questions of a real base, JSON lines with `prompt` and `answer`; see `prompts`

# The base is one that ships (minutes on a laptop's core) or a real one (the paper's numbers).
is_tiny() { case ${BASE:-tiny} in tiny | tiny-student) ;; *) false ;; esac }

# What a base needs: SAMPLE, STEP and JUDGE, arguments of r1 sample, r1 grpo-step and r1 reward. A tiny base brings its learning rate and batch in run.json. For others this is the paper's rollout:
# 8,192 outputs (512 questions x 16) dealt into 16 minibatches, one pass; the learning rate 3e-6, KL 0.001, clip ratio
# 10, a reference that moves every 400 steps and at most 32,768 tokens are r1's defaults (Nature, "Training details").
settings() {
    SAMPLE=() STEP=()
    # The paper: accuracy and format at equal weight. At that weight the tiny base first learns to look as if it thought.
    JUDGE=(--format --accuracy)
    if is_tiny; then
        JUDGE+=(--weight format=0.3)
    else
        SAMPLE=(--questions 512) STEP=(--minibatches 16)
        ITERATIONS=${ITERATIONS:-650}
    fi
    [ -z "${QUESTIONS:-}" ] || SAMPLE=(--questions "$QUESTIONS")
    [ -z "${MINIBATCHES:-}" ] || STEP=(--minibatches "$MINIBATCHES")
    [ -z "${MAX_TOKENS:-}" ] || SAMPLE+=(--max-tokens "$MAX_TOKENS")
}

# prompts OUT: sets PROMPTS, for a real base that got none: DAPO-Math-17k without what is in the evaluation sets (10-gram
# decontamination, v2 appendix B.3.1). The tiny bases have a task of their own.
prompts() {
    { is_tiny || [ -n "${PROMPTS:-}" ]; } && return
    PROMPTS=$1/prompts.jsonl
    [ ! -e "$PROMPTS" ] || return 0
    r1 prompts --preset aime24 --prompt-template none -o "$1/aime24.jsonl"
    r1 prompts --preset math500 --prompt-template none -o "$1/math500.jsonl"
    r1 prompts --preset dapo |
        r1 filter --decontaminate "$1/aime24.jsonl" --decontaminate "$1/math500.jsonl" -o "$PROMPTS"
}

say() { printf '== %s\n' "$*" >&2; }

# make_run RUN ARGS: r1 init, unless an earlier try has made it.
make_run() {
    [ -e "$1/run.json" ] || r1 init "$@"
}

# keep RUN: holds it in memory from here on, in place of the one before.
SERVED=
keep() {
    [ "$SERVED" != "$1" ] || return 0
    let_go
    if ! r1 serve -q "$1" --status > /dev/null 2>&1; then
        if [ -n "${R1_SERVE:-}" ]; then
            $R1_SERVE "$1"
        else
            r1 serve "$1" --detach ${GPUS:+--gpus "$GPUS"}
        fi
    fi
    SERVED=$1
}
let_go() {
    [ -z "$SERVED" ] || r1 serve -q "$SERVED" --stop
    SERVED=
}
trap let_go EXIT

# learn RUN N REWARDS: reinforcement learning until RUN has made N iterations in all, judged by `r1 reward REWARDS`.
# Interrupted and called again it goes on where the run was saved.
learn() {
    local run=$1 total=$2 iteration quiet
    shift 2
    keep "$run"
    iteration=$(r1 serve "$run" --status | jq .iteration)
    while ((iteration < total)); do
        iteration=$((iteration + 1))
        quiet=$( ((iteration % 5 && iteration < total)) && echo -q || true) # one line every five iterations
        # shellcheck disable=SC2086
        r1 sample -q "$run" "${SAMPLE[@]}" | r1 reward -q "$@" | r1 grpo-step $quiet "${STEP[@]}" > /dev/null
    done
}

# result NAME CKPT: measures CKPT for the table in $OUT (cheap while it is kept in memory). table NAME...: prints that.
# What sources this has set `here`, the folder of the scripts, and `small`.
result() {
    EVALS=$OUT/results "${here:?}/evaluate.sh" ${small:+--small} "$1=$2" > /dev/null
}
table() {
    EVALS=$OUT/results "$here/evaluate.sh" "${@/%/=-}"
}
