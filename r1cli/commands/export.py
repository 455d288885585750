"""r1 export"""

from pathlib import Path
from typing import Annotated

from r1cli import options, ui
from r1cli.options import Argument, Option


def export(
    run: Annotated[Path, Argument(metavar="RUN", help="The run to export from.")],
    folder: Annotated[Path, Argument(metavar="DIR", help="The model folder to make.")],
    step: Annotated[int | None, Option(metavar="N", min=0, help="Which step (default: the latest).")] = None,
    adapter: Annotated[bool, Option("--adapter", help="Only the LoRA adapter, as peft reads it.")] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Copy a step's model to a plain Hugging Face folder.

    The trainer's state stays behind. Of a run with --lora this is the merged model, which needs no peft; the adapter
    alone is for whoever has the base.

    \b
    Examples:
      r1 export runs/zero zero-model
      r1 export runs/zero base-model --step 0
      r1 export runs/small small-adapter --adapter
    """
    ui.setup("export", quiet, verbose)
    from r1cli.creation import export as copy_step
    from r1cli.errors import InputError
    from r1cli.runs import Run

    source = Run.open(run)
    chosen = source.latest() if step is None else source.step_folder(step)
    if not chosen.is_dir():
        raise InputError(f"{run} has no step {step}; it has {', '.join(map(str, source.steps()))}")
    if adapter:
        if "lora" not in source.config:
            raise InputError(f"{run} trains whole weights and has no adapter; export its model, without --adapter")
        if not (chosen / "adapter").is_dir():
            raise InputError(f"{chosen.name} of {run} is the base, which has no adapter yet; name a later --step")
        chosen = chosen / "adapter"
    copy_step(chosen, folder)
    ui.say(f"{chosen.relative_to(source.path)} of {run} is in {folder}")
