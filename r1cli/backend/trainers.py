"""Which trainer an engine uses: asked for, or picked by how many processes there are; with what only some can do.

Nothing heavy is imported: `r1 serve` asks before it starts any process. How a trainer is made is learner.py's business.
"""

import importlib.util
import sys

from r1cli.backend.base import EngineOptions
from r1cli.errors import InputError

ZERO = 2  # shards gradients and optimizer; weights stay whole, so a forward pass needs no communication


def pick(options: EngineOptions, world: int, *, lora: bool = False) -> str:
    """The name of the trainer, torch, deepspeed or, for a run of adapters, lora, of an engine over `world` processes.

    Raises InputError for deepspeed where it is not installed, for what takes one process over several, and for options
    of deepspeed beside another.
    """
    wanted = options.trainer or "auto"
    if wanted == "auto":
        wanted = "deepspeed" if world > 1 else "torch"
    if lora and wanted == "deepspeed":
        asked = "--trainer deepspeed" if world == 1 else f"{world} processes"
        raise InputError(f"a run of adapters (r1 init --lora) trains in one process, by torch; it can't use {asked}")
    if wanted == "torch" and world > 1:
        raise InputError(f"--trainer torch is one process, and {world} were asked for; use --trainer deepspeed")
    spec = importlib.util.find_spec("deepspeed") if wanted == "deepspeed" else None
    if wanted == "deepspeed" and (spec is None or spec.origin is None):  # a mere folder of that name is none
        why = "--trainer deepspeed" if world == 1 else f"training in {world} processes"
        raise InputError(f"{why} needs DeepSpeed, which is not installed: pip install 'r1-pipes[deepspeed]'")
    if wanted == "deepspeed" and sys.platform != "linux":
        raise InputError("DeepSpeed's processes are for Linux; train in one process: --trainer torch, without --gpus")
    for name, value in (("--zero", options.zero), ("--offload", options.offload)):
        if value is not None and wanted != "deepspeed":
            raise InputError(f"{name} is an option of --trainer deepspeed, and the trainer is {wanted}")
    if options.offload == "all" and (options.zero or ZERO) != 3:
        raise InputError("--offload all takes the weights off the card, which needs --zero 3")
    return "lora" if lora else wanted
