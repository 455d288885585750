"""r1 init"""

from pathlib import Path
from typing import Annotated

from r1cli import options, ui
from r1cli.options import Argument, Option

HEADINGS = {"base": "Base and task", "seed": "Schedule and steps", "lora": "Adapters"}


def init(
    run: Annotated[Path, Argument(metavar="RUN", help="The folder to make.")],
    base: Annotated[
        str, Option("--from", metavar="BASE", help="tiny, tiny-student, a run, a model folder, or a cached hub id.")
    ] = "tiny",
    task: Annotated[
        str | None,
        Option(metavar="NAME|FILE", help="What to draw questions from: sum, countdown, or a JSONL file."),
    ] = None,
    template: options.Template = None,
    seed: Annotated[int, Option(metavar="N", help="Seed of the questions and of the samples.")] = 0,
    total_steps: Annotated[
        int | None,
        Option(metavar="N", min=1, help="Length of the learning-rate schedule, in updates; it falls linearly then."),
    ] = None,
    keep: Annotated[
        int, Option(metavar="N", min=0, help="Steps kept on disk besides step 0 and the reference; 0: all.")
    ] = 2,
    save_every: Annotated[
        int, Option(metavar="N", min=1, help="Iterations between saves (of a resident backend).")
    ] = 1,
    refresh_reference: Annotated[
        int, Option(metavar="N", min=0, help="Updates between moves of the KL reference; 0: never.")
    ] = 400,
    lora: Annotated[
        int | None, Option(metavar="RANK", min=1, help="Train LoRA adapters of this rank, by peft; the base is frozen.")
    ] = None,
    lora_alpha: Annotated[
        float | None, Option(metavar="A", min=0, help="Scale of the adapters: W + A / RANK x B A (default: 32).")
    ] = None,
    lora_targets: Annotated[
        options.LoraTargets | None, Option(help="Layers that get adapters (default: all-linear).")
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Make a run directory from a base model.

    A run holds the policy, its optimizer and its metrics; r1 grpo-step and r1 sft update runs and nothing else.
    Hyper-parameters that suit the base, where it brings any, are written to run.json, where you may edit them. What is
    trained, all weights or the adapters of --lora, belongs to the run and stays as it is.

    \b
    Examples:
      r1 init runs/zero --from tiny
      r1 init runs/math --from Qwen/Qwen2.5-1.5B --task math.jsonl
      r1 init runs/small --from Qwen/Qwen2.5-7B --task math.jsonl --lora 32
    """
    ui.setup("init", quiet, verbose)
    import importlib.util

    from r1cli.creation import plan_run
    from r1cli.errors import InputError

    if lora is None and (lora_alpha is not None or lora_targets is not None):
        raise InputError("--lora-alpha and --lora-targets are about adapters; give their rank by --lora")
    if lora_alpha == 0:
        raise InputError("--lora-alpha is 0, with which adapters change nothing; expected a number above 0")
    if lora is not None and importlib.util.find_spec("peft") is None:
        raise InputError("--lora needs peft, which is not installed: pip install 'r1-pipes[lora]'")
    adapters = {"rank": lora, "alpha": lora_alpha or 32.0, "targets": lora_targets or "all-linear"}
    new = plan_run(
        run,
        base,
        task=task,
        template=template,
        lora=adapters if lora else None,
        seed=seed,
        total_steps=total_steps,
        keep=keep,
        save_every=save_every,
        refresh_reference=refresh_reference,
    )
    made, source = new.create(), new.config["source"]
    questions = next(iter(source.values())) if source else None
    if lora:
        ui.say(f"adapters of rank {lora}; learning rate {new.config['defaults']['grpo']['lr']:g} (see {run}/run.json)")
    ui.say(
        f"made {made.path} from {base}, "
        + (f"questions from {questions}" if questions else "no task: give r1 sample a prompts file")
    )
