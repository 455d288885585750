"""r1 serve"""

from pathlib import Path
from typing import Annotated

from r1cli import options, ui
from r1cli.options import Argument, Option

HEADINGS = {
    "detach": "Backend", "gpus": "Several GPUs and machines", "trainer": "Trainer", "plan": "Memory plan (--plan)",
}  # fmt: skip


def serve(
    run: Annotated[Path, Argument(metavar="RUN", help="The run to hold in memory.")],
    detach: Annotated[bool, Option("--detach", help="Return when the backend is ready; it goes on alone.")] = False,
    status: Annotated[bool, Option("--status", help="Print one record about the backend; exit 1 if none.")] = False,
    stop: Annotated[bool, Option("--stop", help="Save and end the backend; clears up after a dead one.")] = False,
    device: options.Device = None,
    threads: options.Threads = None,
    slots: options.Slots = None,
    gradient_checkpointing: options.GradientCheckpointing = None,
    sampler: options.Sampler = None,
    gpu_memory: options.GpuMemory = None,
    sleep: options.Sleep = None,
    engines: options.Engines = None,
    tensor_parallel: options.TensorParallel = None,
    gpus: options.Gpus = None,
    hostfile: options.Hostfile = None,
    nnodes: options.Nnodes = None,
    node_rank: options.NodeRank = None,
    rendezvous: options.Rendezvous = None,
    trainer: options.Trainer = None,
    zero: options.Zero = None,
    offload: options.Offload = None,
    plan: Annotated[
        bool, Option("--plan", help="Print what each GPU would have to hold, and whether it fits; start nothing.")
    ] = False,
    gpu_size: Annotated[str | None, Option(metavar="SIZE", help="Memory of a GPU, for --plan (80GB).")] = None,
    model_size: Annotated[
        str | None, Option(metavar="SIZE", help="A usual size such as 7B, for --plan (default: the run's model).")
    ] = None,
    micro_tokens: Annotated[
        int | None, Option(metavar="N", min=1, help="Tokens computed at once, for --plan (default: the run's).")
    ] = None,
    context: Annotated[
        int | None, Option(metavar="N", min=1, help="Longest sample with its prompt, for --plan (the run's).")
    ] = None,
    lora: Annotated[
        int | None, Option(metavar="RANK", min=1, help="Rank of adapters, for --plan (default: the run's).")
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Keep a run in memory, so that commands on it start at once.

    The backend holds model, optimizer and sampler. While a run is served, r1 sample, r1 eval, r1 grpo-step and r1 sft
    on it are thin clients of the backend; nothing about them changes. What it says goes to RUN/serve.log when
    detached. With --gpus N it is N processes that DeepSpeed's launcher starts, with --hostfile, or --nnodes and its
    kin, on several machines that share RUN; those beside the first write to RUN/serve-rank1.log and so on.
    --plan adds up, from formulas, what such a backend would take of each GPU: a record on stdout, a table on stderr.

    \b
    Examples:
      r1 serve runs/zero --detach
      r1 serve runs/zero --status | jq .step
      r1 serve runs/zero --stop
      r1 serve runs/zero --gpus 8 --zero 3 --detach
      r1 serve runs/zero --plan --gpus 64 --gpu-size 80GB --model-size 32B --zero 3 --context 8192 | jq .fits
      r1 serve runs/zero --gpus 8 --nnodes 2 --node-rank 1 --rendezvous node0:29500
    """
    given = locals().copy()
    ui.setup("serve", quiet, verbose)
    from r1cli import stream
    from r1cli.backend import planning, residence
    from r1cli.backend.base import EngineOptions
    from r1cli.errors import InputError
    from r1cli.runs import Run

    if detach + status + stop + plan > 1:
        raise InputError("--detach, --status, --stop and --plan exclude each other")
    engine = EngineOptions(**{name: given[name] for name in EngineOptions._fields})
    if (status or stop) and any(value is not None for value in engine):
        raise InputError("--status and --stop take no options of the engine: they were set when it was started")
    asked = planning.Asked(gpu_size, model_size, micro_tokens, context, lora)
    if not plan and any(value is not None for value in asked):
        named = next(name for name, value in asked._asdict().items() if value is not None)
        raise InputError(f"--{named.replace('_', '-')} is an option of --plan")
    served = Run.open(run)
    if plan:
        record = planning.report(served, engine, asked)
        for line in planning.table(record):
            ui.say(line)
        with stream.Writer() as out:
            out.record(record)
        return
    if status:
        with stream.Writer() as out:
            out.record(residence.status(served))
    elif stop:
        residence.stop(served)
    elif detach:
        stream.take_stdout()
        residence.detach(served, engine)
    else:
        stream.take_stdout()
        residence.stay(served, engine)
