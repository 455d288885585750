"""Which trainer an engine uses: asked for, or picked by how many processes there are; with what only some can do.

Nothing heavy is imported at the top: `r1 serve` asks before it starts any process. How a trainer computes is said in
trainer_torch.py and trainer_deepspeed.py.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from r1cli.backend.base import EngineOptions
from r1cli.errors import InputError

if TYPE_CHECKING:
    import torch

    from r1cli.backend.model import Transformer
    from r1cli.backend.trainer import Trainer

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
    for name, value in (("--zero", options.zero), ("--offload", options.offload)):
        if value is not None and wanted != "deepspeed":
            raise InputError(f"{name} is an option of --trainer deepspeed, and the trainer is {wanted}")
    if options.offload == "all" and (options.zero or ZERO) != 3:
        raise InputError("--offload all takes the weights off the card, which needs --zero 3")
    return "lora" if lora else wanted


def join_alone(device: "torch.device") -> None:
    """Makes this process a torch.distributed group of one, which DeepSpeed needs even so."""
    import torch.distributed

    if not torch.distributed.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, store=torch.distributed.HashStore(), rank=0, world_size=1)


def build(
    name: str, folder: Path, options: EngineOptions, device: "torch.device", model: "Transformer | None"
) -> "Trainer":
    """The trainer of a folder's weights and optimizer state; `model` is the sampler's, where torch may share it."""
    checkpointing = bool(options.gradient_checkpointing)
    if name == "deepspeed":
        from r1cli.backend.trainer_deepspeed import DeepSpeedTrainer, ZeroSettings

        settings = ZeroSettings(
            stage=options.zero or ZERO, offload=options.offload or "none", gradient_checkpointing=checkpointing
        )
        return DeepSpeedTrainer(folder, settings, device=device)
    import torch

    from r1cli.backend import checkpoint
    from r1cli.backend.trainer_torch import TorchTrainer

    if name == "lora":
        from r1cli.backend.adapters import Lora
        from r1cli.backend.trainer_lora import LoraTrainer

        lora = Lora.of(folder)
        narrow = torch.bfloat16 if device.type == "cuda" else torch.float32
        base = checkpoint.load_model(lora.base, dtype=narrow, device=device)
        trainer = LoraTrainer(base, lora, device=device)
    else:
        policy = checkpoint.load_model(folder, dtype=torch.float32, device=device) if model is None else model
        trainer = TorchTrainer(policy, device=device)
    trainer.model.checkpoint_layers = checkpointing
    if (folder / "trainer" / "optimizer.json").exists():
        trainer.load(folder / "trainer")
    return trainer
