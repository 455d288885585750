"""Pieces of a decoder in fewer passes over memory than autograd makes of them.

Norm, rotation and gated product are for CPUs; each does the arithmetic of the plain formula in its order, so values and
gradients are the same to the bit: what is saved are temporaries and what would be kept for backward. They know no
model.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


class Norm(torch.autograd.Function):
    """Root-mean-square norm times a weight: forward(x [..., C], weight [C], eps) -> [..., C]."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = x.pow(2).mean(-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(x, scale, weight)
        return (x * scale).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, scale, weight = ctx.saved_tensors
        weight_grad = x_grad = None
        if ctx.needs_input_grad[1]:
            weight_grad = (x * scale).mul_(grad).flatten(0, -2).sum(0)
        if ctx.needs_input_grad[0]:
            grad = grad * weight
            # d scale / dx = -scale^3 x / C; the 2 of the square and the 0.5 of the root are powers of two, so exact.
            pull = (grad * x).sum(-1, keepdim=True).mul_(-0.5).mul_(scale.pow(3)).div_(x.shape[-1]).mul_(2)
            x_grad = grad.mul_(scale).add_(x * pull)
        return x_grad, weight_grad, None


class Rotation(torch.autograd.Function):
    """Rotary embedding, forward(x [N, H, D], cos [N, 1, D], sin [N, 1, D]) -> [N, H, D]; cos and sin get no gradient.

    The sine of the first half comes negated, so the halves only trade places.
    """

    @staticmethod
    def forward(ctx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.dtype = x.dtype
        half = x.shape[-1] // 2
        out = x * cos
        out[..., :half] += x[..., half:] * sin[..., :half]
        out[..., half:] += x[..., :half] * sin[..., half:]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        half = grad.shape[-1] // 2
        out = grad * cos
        out[..., half:] += grad[..., :half] * sin[..., :half]
        out[..., :half] += grad[..., half:] * sin[..., half:]
        return out.to(ctx.dtype), None, None


class Gated(torch.autograd.Function):
    """silu(gate) * up, forward(gate [N, I], up [N, I]) -> [N, I]; the silu is computed again in backward, not kept."""

    @staticmethod
    def forward(ctx, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad * up, gate), F.silu(gate).mul_(grad)


class Lookup(torch.autograd.Function):
    """Rows of a table, forward(tokens [N], table [V, C]) -> [N, C]; backward adds to table.grad itself.

    Autograd would make a whole [V, C] of zeros for each micro-batch.
    """

    @staticmethod
    def forward(ctx, tokens: Tensor, table: Tensor) -> Tensor:
        ctx.table = table
        ctx.save_for_backward(tokens)
        return F.embedding(tokens, table)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[None, None]:
        if ctx.needs_input_grad[1]:
            own_gradient(ctx.table).index_add_(0, ctx.saved_tensors[0], grad)
        return None, None


def own_gradient(parameter: Tensor) -> Tensor:
    """The parameter's gradient to add to, made where there is none yet."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
