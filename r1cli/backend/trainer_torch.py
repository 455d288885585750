"""The trainer of one process: torch, a whole model, an AdamW of our own.

Weights are fp32 and stay fp32; on CUDA the forward and backward passes run under bf16 autocast. The algorithm is
trainer.py's.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from r1cli.backend.logprobs import token_logprobs
from r1cli.backend.model import Transformer
from r1cli.backend.optimizer_state import AdamW
from r1cli.backend.packing import MicroBatch
from r1cli.backend.trainer import Trainer
from r1cli.errors import R1Error


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

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def norm(self) -> float:
        return self.optimizer.norm()

    def update(self, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, scale: float) -> None:
        self.optimizer.update(lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay, scale=scale)

    def clear(self) -> None:
        self.optimizer.clear()

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.model.named_parameters():
            yield name, parameter.detach()

    def save(self, folder: Path | str) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.cpu().contiguous() for name, value in self.weights()}
        save_file(weights, folder / "master.safetensors", metadata={"format": "pt"})
        self.optimizer.save(folder)

    def load(self, folder: Path | str) -> None:
        folder = Path(folder)
        try:
            weights = load_file(folder / "master.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise R1Error(
                f"{folder}: cannot read master.safetensors ({error}); go back to a step that has it"
            ) from error
        parameters = dict(self.model.named_parameters())
        if {name: value.shape for name, value in weights.items()} != {name: p.shape for name, p in parameters.items()}:
            raise R1Error(
                f"{folder}/master.safetensors: its tensors are not those of this model; it belongs to another run"
            )
        self.optimizer.load(folder)
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(weights[name])

    def _precision(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda")
