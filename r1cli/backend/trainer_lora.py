"""The trainer of LoRA adapters, by peft: a frozen base in memory once, with small trained matrices beside its weights.

The base is bf16 on CUDA and fp32 on a CPU, the adapters are fp32; gradients and optimizer state exist for them alone.
The base with its adapters off, or with those of an older step, is the KL reference. What adapters are on disk, and the
weights that a sampler gets, is adapters.py's business.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from r1cli import ui
from r1cli.backend import trainer_files
from r1cli.backend.adapters import FILE, PREFIX, PUBLISHED, TARGETS, A, B, Lora, merge, read_adapters
from r1cli.backend.model import Transformer
from r1cli.backend.optimizer_state import AdamW
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.errors import InputError

POLICY, REFERENCE = "policy", "reference"  # peft's names for the two sets of adapters
BASE_LAYER = ".base_layer"  # what peft puts into the name of a weight that it wraps


class LoraTrainer(TorchTrainer):
    """Holds a frozen base, its adapters, and the optimizer state of the adapters."""

    def __init__(self, base: Transformer, lora: Lora, *, device: torch.device | str = "cpu"):
        """Puts new adapters into `base`; raises InputError where peft is not installed."""
        try:
            with ui.hushed():
                import peft
                from peft.tuners.tuners_utils import BaseTunerLayer
        except ImportError as error:
            raise InputError(f"a run with --lora needs peft ({error}): pip install 'r1-pipes[lora]'") from None
        self.scale = lora.scale
        self.config = peft.LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            target_modules=list(TARGETS[lora.targets]),
            task_type="CAUSAL_LM",
            base_model_name_or_path=lora.name,
        )
        self._inject: Callable[[str], nn.Module] = lambda name: peft.inject_adapter_in_model(self.config, base, name)
        super().__init__(self._inject(POLICY), device=device)
        self.layers = {name: part for name, part in self.model.named_modules() if isinstance(part, BaseTunerLayer)}
        self.adapters = self._take(POLICY)
        draw = torch.Generator().manual_seed(lora.seed)
        with torch.no_grad():
            for name, adapter in self.adapters.items():
                if name.endswith(A):
                    # As nn.Linear begins; drawn on the CPU, so that every device begins alike.
                    bound = 1 / math.sqrt(adapter.shape[1])
                    adapter.copy_(torch.empty(adapter.shape).uniform_(-bound, bound, generator=draw))
                else:
                    adapter.zero_()
        self.optimizer = AdamW(self.adapters.items())

    def _take(self, which: str) -> dict[str, nn.Parameter]:
        """One set of adapters by name, in fp32 (peft makes them in the base's dtype)."""
        return {
            layer + suffix: pair[which].float().weight
            for layer, part in self.layers.items()
            for suffix, pair in ((A, part.lora_A), (B, part.lora_B))
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(weight.shape) for name, weight, _ in self._base()}

    def weights(self, dtype: torch.dtype = torch.float32) -> Iterator[tuple[str, Tensor]]:
        for name, weight, layer in self._base():
            if layer:
                weight = merge(weight, self.adapters[layer + A].detach(), self.adapters[layer + B].detach(), self.scale)
            yield name, weight.to(dtype)

    def _base(self) -> Iterator[tuple[str, Tensor, str]]:
        """Checkpoint name, value, and the layer's name if it has adapters, of every weight of the base."""
        for name, parameter in self.model.named_parameters():
            layer, wrapped, kind = name.rpartition(BASE_LAYER)
            if wrapped or ".lora_" not in name:
                yield layer + kind, parameter.detach(), layer if wrapped and kind == ".weight" else ""

    def save(self, folder: Path | str) -> None:
        """Writes the adapters, and the optimizer's two files beside them."""
        shapes = {name: tuple(adapter.shape) for name, adapter in self.adapters.items()}
        trainer_files.save_trained(self, Path(folder) / FILE, shapes, self.adapters.items())

    def load(self, folder: Path | str) -> None:
        shapes = {name: tuple(adapter.shape) for name, adapter in self.adapters.items()}
        self._restore(trainer_files.open_saved(Path(folder), shapes, FILE))

    def publish(self, folder: Path | str, dtype: torch.dtype) -> None:
        """Writes model.safetensors, the merged weights in `dtype`, and adapter/ as peft reads it."""
        super().publish(folder, dtype)
        named = {PREFIX + name: adapter for name, adapter in self.adapters.items()}
        shapes = {name: tuple(adapter.shape) for name, adapter in named.items()}
        trainer_files.stream(self, Path(folder) / PUBLISHED, shapes, torch.float32, named.items())
        self.config.save_pretrained(Path(folder, PUBLISHED).parent)

    def open_reference(self, folder: Path | str) -> "Reference":
        """The policy of a step of this run, frozen: the base with the step's adapters, or with none for step 0.

        It is a view of this trainer's model: the next one opened, or the trainer's end, is its end.
        """
        if not (Path(folder) / "trainer" / FILE).exists():
            return Reference(self, [])
        if REFERENCE not in next(iter(self.layers.values())).lora_A:
            with warnings.catch_warnings():  # that there are several sets of adapters now, which is what is wanted
                warnings.simplefilter("ignore")
                self._inject(REFERENCE)
        adapters = self._take(REFERENCE)
        found = read_adapters(Path(folder) / "trainer" / FILE, {name: p.shape for name, p in adapters.items()})
        with torch.no_grad():
            for name, adapter in adapters.items():
                adapter.copy_(found[name])
        self.switch(POLICY)
        return Reference(self, [REFERENCE])

    def switch(self, names: str | list[str]) -> None:
        """Lets the model compute with these adapters; only the policy's are ever trained."""
        for part in self.layers.values():
            part.set_adapter(names, inference_mode=names != POLICY)


class Reference(nn.Module):
    """A trainer's model under other adapters, in the place of a second model; for passes without gradients."""

    def __init__(self, trainer: LoraTrainer, names: list[str]):
        super().__init__()
        self.trainer, self.names = trainer, names
        self.direct_gradients = False  # as of any model that has none

    @property
    def head_weight(self) -> Tensor:
        """The output projection [V, C], which has no adapter."""
        return self.trainer.model.head_weight

    def hidden(self, *inputs) -> Tensor:
        """As Transformer.hidden."""
        self.trainer.switch(self.names)
        try:
            return self.trainer.model.hidden(*inputs)
        finally:
            self.trainer.switch(POLICY)
