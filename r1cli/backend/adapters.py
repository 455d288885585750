"""LoRA adapters of a run: what run.json says of them, their files, and the weights that they make of a base.

A step's weights are always its run's step 0 plus its adapters: nothing is ever merged into something merged. All of it
works without peft, so that sampling a run of adapters needs no more than any other. They are trained in
trainer_lora.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from r1cli.backend.checkpoint import load_model, load_weights
from r1cli.backend.model import Transformer
from r1cli.errors import R1Error
from r1cli.runs import STEP, Run

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
TARGETS = {"all-linear": (*ATTENTION, "gate_proj", "up_proj", "down_proj"), "attention": ATTENTION}

FILE = "adapter.safetensors"  # of a step's trainer/
PUBLISHED = "adapter/adapter_model.safetensors"
PREFIX = "base_model.model."  # what peft puts before a parameter's name
A, B = ".lora_A.weight", ".lora_B.weight"


@dataclass(slots=True, frozen=True)
class Lora:
    """The adapters of a run: W + alpha / rank * B A for the weights W [out, in] that `targets` names.

    A [rank, in] begins random, by `seed`, and B [out, rank] zero. `base` is the folder of W, which others know by
    `name`. LoRA, arXiv:2106.09685, section 4.1.
    """

    rank: int
    alpha: float
    targets: str
    seed: int = 0
    base: Path = Path()
    name: str = ""

    @classmethod
    def of(cls, folder: Path) -> "Lora | None":
        """The adapters of the run that a folder is a step of; None for a run of whole weights, and for no run."""
        home = folder.resolve().parent
        if not STEP.match(folder.resolve().name) or not (home / "run.json").is_file():
            return None
        run = Run.open(home)
        said = run.config.get("lora")
        return cls(**said, seed=run.config["seed"], base=run.step_folder(0), name=run.base_name) if said else None

    @property
    def scale(self) -> float:
        """The factor of B A."""
        return self.alpha / self.rank

    def adapts(self, name: str) -> bool:
        """Whether the parameter of that checkpoint name has an adapter."""
        layer, _, kind = name.rpartition(".")
        return kind == "weight" and layer.rpartition(".")[2] in TARGETS[self.targets]


def merge(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """weight + scale * b @ a, in fp32; the weight stays as it is."""
    return torch.addmm(weight.float(), b, a, alpha=scale)


def load_policy(folder: Path, *, dtype: torch.dtype, device: torch.device) -> Transformer:
    """The model that a folder's trainer has, in `dtype` on `device`; raises InputError and R1Error.

    That is the folder's weights, the fp32 copy when there is one, or those of its run's base plus its adapters.
    """
    lora = Lora.of(folder)
    model = load_model(lora.base if lora else folder, dtype=dtype, device=device)
    if lora:
        _add_adapters(model, lora, folder)
    return model


def load_policy_weights(model: Transformer, folder: Path) -> None:
    """Copies into a model what load_policy would give it."""
    lora = Lora.of(folder)
    load_weights(model, lora.base if lora else folder, master=True)
    if lora:
        _add_adapters(model, lora, folder)


def _add_adapters(model: Transformer, lora: Lora, folder: Path) -> None:
    if not (folder / "trainer" / FILE).exists():
        return  # step 0
    weights = {name: weight for name, weight in model.named_parameters() if lora.adapts(name)}
    shapes = {}
    for name, weight in weights.items():
        layer = name.removesuffix(".weight")
        shapes |= {layer + A: (lora.rank, weight.shape[1]), layer + B: (weight.shape[0], lora.rank)}
    adapters = read_adapters(folder / "trainer" / FILE, shapes)
    with torch.no_grad():
        for name, weight in weights.items():
            layer = name.removesuffix(".weight")
            a, b = (adapters[layer + part].to(weight.device) for part in (A, B))
            weight.copy_(merge(weight, a, b, lora.scale))


def read_adapters(path: Path, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The adapters of a step's trainer, fp32 on the CPU; raises R1Error unless they are whole and of these shapes."""
    try:
        found = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise R1Error(f"{path}: cannot read the adapters ({error}); go back to a step that has them") from error
    if {name: tuple(value.shape) for name, value in found.items()} != {name: tuple(s) for name, s in shapes.items()}:
        raise R1Error(f"{path}: its tensors are not the adapters of this run; it belongs to another one")
    return found
