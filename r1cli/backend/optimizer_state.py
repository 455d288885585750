"""AdamW over named fp32 parameters.

Written out because torch.optim pulls in the compiler at its first step, a second of CPU in every short process; the
arithmetic is the same. It knows no loss, no schedule and no files (trainer_files.py).
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


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
