"""r1 init"""

from pathlib import Path
from typing import Annotated

from r1cli import options, ui
from r1cli.options import Argument, Option

# Adapters learn at about ten times the learning rate of whole weights, whatever their rank (with alpha fixed):
# Schulman et al., LoRA Without Regret, 2025. On the tiny base three and ten times do equally well, once far worse.
ADAPTER_RATE = 10


def init(
    run: Annotated[Path, Argument(metavar="RUN", help="The folder to make.")],
    base: Annotated[
        str, Option("--from", metavar="BASE", help="tiny, a run, a model folder, or a hub id in the local cache.")
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

    A run holds the policy, its optimizer and its metrics; r1 grpo-step updates runs and nothing else. Hyper-parameters
    that suit the base, where it brings any, are written to run.json, where you may edit them. What is trained, all
    weights or the adapters of --lora, belongs to the run and stays as it is.

    \b
    Examples:
      r1 init runs/zero --from tiny
      r1 init runs/math --from Qwen/Qwen2.5-1.5B --task math.jsonl
      r1 init runs/small --from Qwen/Qwen2.5-7B --task math.jsonl --lora 32
    """
    ui.setup("init", quiet, verbose)
    import importlib.util
    import json

    from r1cli.algorithms.settings import GrpoSettings
    from r1cli.creation import create_run
    from r1cli.errors import InputError
    from r1cli.prompts import sources, templates
    from r1cli.runs import locate

    if lora is None and (lora_alpha is not None or lora_targets is not None):
        raise InputError("--lora-alpha and --lora-targets are about adapters; give their rank by --lora")
    if lora_alpha == 0:
        raise InputError("--lora-alpha is 0, with which adapters change nothing; expected a number above 0")
    if lora is not None and importlib.util.find_spec("peft") is None:
        raise InputError("--lora needs peft, which is not installed: pip install 'r1-pipes[lora]'")
    folder, origin = locate(base)
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}; expected a model folder in Hugging Face format")
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} has no weights (model.safetensors, whole or in shards); other formats are not read")
    suits = folder / "r1.json"
    defaults = json.loads(suits.read_text()).get("defaults", {}) if suits.is_file() else {}
    base_task, base_template = defaults.pop("task", None), defaults.pop("template", "r1-zero")
    inherited = origin.config if origin else {}
    defaults = inherited.get("defaults", defaults)
    template = templates.load(template) if template else inherited.get("template", base_template)
    source = inherited.get("source")
    task = task or (None if source else base_task)
    if task in sources.TASKS:
        source = {"task": task}
    elif task is not None:
        if not Path(task).is_file():
            raise InputError(f"no task {task}: expected {', '.join(sources.TASKS)} or a JSONL file of prompts")
        sources.load(Path(task))  # a bad file is found now and not at the first step
        source = {"file": str(Path(task).resolve())}
    if total_steps is not None:
        grpo = defaults.setdefault("grpo", {})
        grpo.update(total_steps=total_steps, decay=grpo.get("decay", "linear"))  # a constant rate has no length
    adapters = {"rank": lora, "alpha": lora_alpha or 32.0, "targets": lora_targets or "all-linear"}
    if lora and not (origin and "lora" in origin.config):
        grpo = defaults.setdefault("grpo", {})
        grpo["lr"] = ADAPTER_RATE * grpo.get("lr", GrpoSettings().lr)
    made = create_run(
        run,
        folder,
        base,
        {
            "source": source,
            "template": template,
            "seed": seed,
            "keep": keep,
            "save_every": save_every,
            "refresh_reference": refresh_reference,
            "defaults": defaults,
            **({"lora": adapters} if lora else {}),
        },
        origin,
    )
    questions = next(iter(source.values())) if source else None
    if lora:
        ui.say(f"adapters of rank {lora}; learning rate {defaults['grpo']['lr']:g} (see {run}/run.json)")
    ui.say(
        f"made {made.path} from {base}, "
        + (f"questions from {questions}" if questions else "no task: give r1 sample a prompts file")
    )
