"""AdamW over named fp32 parameters, and its state as files that resume bit for bit.

Written out because torch.optim pulls in the compiler at its first step, a second of CPU in every short process; the
arithmetic is the same. It knows no loss and no schedule.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from r1cli.errors import R1Error

FORMAT = 1


class AdamW:
    """First and second moments by parameter name; memory for them is taken at the first update."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]]):
        self.parameters = dict(parameters)
        self.steps = 0
        self.first: dict[str, Tensor] = {}
        self.second: dict[str, Tensor] = {}

    def clear(self) -> None:
        """Drops the gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def gradients(self) -> list[Tensor]:
        """Every parameter's gradient, zero where backward did not reach it, so that each update moves all moments
        alike.
        """
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [parameter.grad for parameter in self.parameters.values()]

    def norm(self) -> float:
        """Global 2-norm of the gradients."""
        return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in self.gradients()])).item()

    @torch.no_grad()
    def update(
        self, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, scale: float = 1.0
    ) -> None:
        """One step with gradients times `scale` (clipping); decoupled weight decay touches matrices only, not norms or
        biases.
        """
        self.steps += 1
        rate = lr / (1 - beta1**self.steps)
        correction = math.sqrt(1 - beta2**self.steps)
        for (name, parameter), grad in zip(self.parameters.items(), self.gradients(), strict=True):
            if name not in self.first:
                self.first[name], self.second[name] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            if scale != 1.0:
                grad.mul_(scale)
            if weight_decay and parameter.ndim > 1:
                parameter.mul_(1 - lr * weight_decay)
            first = self.first[name].lerp_(grad, 1 - beta1)
            second = self.second[name].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            parameter.addcdiv_(first, second.sqrt().div_(correction).add_(eps), value=-rate)

    def save(self, folder: Path) -> None:
        """Writes optimizer.safetensors (exp_avg.NAME, exp_avg_sq.NAME, fp32) and optimizer.json (steps, format
        version).
        """
        tensors = {f"exp_avg.{name}": value.cpu() for name, value in self.first.items()}
        tensors |= {f"exp_avg_sq.{name}": value.cpu() for name, value in self.second.items()}
        save_file(tensors, folder / "optimizer.safetensors")
        (folder / "optimizer.json").write_text(json.dumps({"format": FORMAT, "steps": self.steps}) + "\n")

    def load(self, folder: Path) -> None:
        """Reads what save wrote; raises R1Error when a file is missing or does not belong to these parameters."""
        try:
            header = json.loads((folder / "optimizer.json").read_text())
            tensors = load_file(folder / "optimizer.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise R1Error(
                f"{folder}: cannot read the optimizer state ({error}); go back to a step that has it"
            ) from error
        if header.get("format") != FORMAT:
            raise R1Error(
                f"{folder}/optimizer.json: format {header.get('format')}, expected {FORMAT}; use a matching r1"
            )
        moments = {"exp_avg.": {}, "exp_avg_sq.": {}}
        for kind, found in moments.items():
            for name, parameter in self.parameters.items() if header["steps"] else ():
                value = tensors.get(kind + name)
                if value is None or value.shape != parameter.shape:
                    what = "missing" if value is None else f"of shape {list(value.shape)}, not {list(parameter.shape)}"
                    raise R1Error(
                        f"{folder}/optimizer.safetensors: {kind}{name} is {what}; it belongs to another model"
                    )
                found[name] = value.to(parameter)
        self.steps, self.first, self.second = header["steps"], moments["exp_avg."], moments["exp_avg_sq."]
