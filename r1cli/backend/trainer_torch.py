"""The trainer of one process: torch, a whole model, an AdamW of our own.

Weights are fp32 and stay fp32; on CUDA the forward and backward passes run under bf16 autocast. The algorithm is
trainer.py's.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor

from r1cli.backend import trainer_files
from r1cli.backend.checkpoint import load_model
from r1cli.backend.logprobs import token_logprobs
from r1cli.backend.model import Transformer
from r1cli.backend.optimizer_state import AdamW
from r1cli.backend.packing import MicroBatch
from r1cli.backend.picked import likeliest, picked
from r1cli.backend.trainer import Trainer


class TorchTrainer(Trainer):
    """Holds a model with fp32 weights and its optimizer state."""

    def __init__(self, model: Transformer, *, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.model.direct_gradients = True
        self.optimizer = AdamW(model.named_parameters())

    def logprobs(self, model: Transformer, micro: MicroBatch, temperatures: Tensor) -> tuple[Tensor, Tensor]:
        with self._precision():
            return token_logprobs(model, micro, temperatures[micro.sequences])

    def top_logprobs(
        self, model: Transformer, teacher: Transformer, micro: MicroBatch, count: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        with self._precision():
            ids, theirs = likeliest(teacher, micro, count, min(model.config.vocab_size, teacher.config.vocab_size))
            ours, entropy = picked(model, micro, ids)
        return ours, theirs, entropy

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def norm(self) -> float:
        return self.optimizer.norm()

    def update(self, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, scale: float) -> None:
        self.optimizer.update(lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay, scale=scale)

    def clear(self) -> None:
        self.optimizer.clear()

    @property
    def steps(self) -> int:
        return self.optimizer.steps

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(parameter.shape) for name, parameter in self.model.named_parameters()}

    def weights(self, dtype: torch.dtype = torch.float32) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.model.named_parameters():
            yield name, parameter.detach().to(dtype)

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        for kind, values in zip(trainer_files.KINDS, (self.optimizer.first, self.optimizer.second), strict=True):
            yield from ((f"{kind}.{name}", value) for name, value in values.items())

    def save(self, folder: Path | str) -> None:
        trainer_files.save(self, Path(folder))

    def load(self, folder: Path | str) -> None:
        self._restore(trainer_files.open_saved(Path(folder), self.shapes()))

    def _restore(self, saved: trainer_files.Saved) -> None:
        parameters = self.optimizer.parameters
        self.optimizer.steps = saved.steps
        found: dict[str, dict[str, Tensor]] = {kind: {} for kind in trainer_files.KINDS}
        for kind, name, value in saved.moments():
            found[kind][name] = value.to(parameters[name])
        # In the order of the parameters, which is the file's when it is written again.
        self.optimizer.first, self.optimizer.second = (
            {name: values[name] for name in parameters if name in values} for values in found.values()
        )
        with torch.no_grad():
            for name, value in saved.weights():
                parameters[name].copy_(value)

    def publish(self, folder: Path | str, dtype: torch.dtype) -> None:
        trainer_files.publish(self, Path(folder), dtype)

    def open_reference(self, folder: Path | str) -> Transformer:
        return self.open_teacher(folder)

    def open_teacher(self, folder: Path | str) -> Transformer:
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        return load_model(folder, dtype=dtype, device=self.device).requires_grad_(False)

    def _precision(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda")
