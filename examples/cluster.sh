#!/usr/bin/env bash
#SBATCH --job-name=r1
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=r1-%j.log
# Any script of this folder on several nodes under Slurm. Submit it where the repository is, on a disk all nodes see:
#
#   BASE=Qwen/Qwen2.5-32B GPUS=8 sbatch --nodes=8 --export=ALL examples/cluster.sh examples/r1.sh runs/r1-32b
#   DRY=1 SLURM_JOB_NODELIST=n[1-4] SLURM_NNODES=4 GPUS=8 examples/cluster.sh --serve RUN     # what would be started
#
# The paper trained on 64 machines of 8 H800 (v2, B.4.4: 198 hours for R1-Zero, about 80 for R1). The script runs on the
# first node; wherever it keeps a run in memory, r1 serve starts on all of them and the commands notice nothing. ZERO is
# DeepSpeed's stage (default 3), PORT where the nodes meet. A job that reached its limit, or lost a node, is queued again and
# goes on from the last saved step. r1 serve RUN --plan says beforehand what fits on so many GPUs.
set -euo pipefail

# Slurm runs a copy of this file from its spool; the script that is run needs a program that is there.
program=${SLURM_SUBMIT_DIR:-.}/examples/cluster.sh

# Starts the backend of a run on every node, and returns when it answers.
serve() {
    local run=$1 first backend
    first=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
    first=${first%%$'\n'*} # and no head: what writes to one that has read enough may die of it
    # shellcheck disable=SC2016 # what each node expands for itself
    local command=(srun --nodes="$SLURM_NNODES" --ntasks-per-node=1 --kill-on-bad-exit=1
        bash -c 'exec r1 serve "$0" --gpus "$1" --zero "$2" --nnodes "$3" --node-rank "$SLURM_NODEID" --rendezvous "$4"'
        "$run" "${GPUS:-8}" "${ZERO:-3}" "$SLURM_NNODES" "$first:${PORT:-29500}")
    [ -z "${DRY:-}" ] || { printf '%q ' "${command[@]}" && echo && return; }
    "${command[@]}" >> "$run/serve.log" 2>&1 < /dev/null &
    backend=$!
    until r1 serve -q "$run" --status > /dev/null 2>&1; do
        kill -0 "$backend" 2> /dev/null || { echo "cluster.sh: the backend of $run ended; see $run/serve.log" >&2 && exit 1; }
        sleep 1
    done
    disown "$backend"
}

case ${1:-} in
    --serve) serve "${2:?usage: cluster.sh --serve RUN}" ;;
    "") echo "usage: sbatch [--nodes=N] examples/cluster.sh SCRIPT [ARGUMENTS]" >&2 && exit 2 ;;
    *)
        cd "${SLURM_SUBMIT_DIR:-.}"
        export R1_SERVE="$program --serve"
        "$@"
        ;;
esac
