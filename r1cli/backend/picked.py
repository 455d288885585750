"""Log-probabilities of several tokens at each position, by chunks, as logprobs.py has them for one.

`likeliest` finds a teacher's best tokens, PickedLogProbs says what a student thinks of them.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from r1cli.backend.kernels import own_gradient
from r1cli.backend.logprobs import LIMITS, Limits, logits, parts, states
from r1cli.backend.model import Transformer
from r1cli.backend.packing import MicroBatch


@torch.no_grad()
def likeliest(model: Transformer, batch: MicroBatch, count: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    """The `count` likeliest tokens [M, count] at each target, best first, and their log-probs, fp32.

    Only the first `vocabulary` rows of the head stand for tokens; models of one family pad it differently.
    """
    hidden, weight = states(model, batch), model.head_weight[:vocabulary]
    weight = weight.to(hidden.dtype)
    ids = hidden.new_empty(len(hidden), count, dtype=torch.long)
    found = hidden.new_empty(len(hidden), count, dtype=torch.promote_types(hidden.dtype, torch.float32))
    step = max(1, min(len(hidden), LIMITS.chunk // vocabulary))
    work = hidden.new_empty(step, vocabulary)
    with torch.autocast(hidden.device.type, enabled=False):
        for part in parts(len(hidden), step):
            z = logits(hidden[part], weight, torch.ones(1, device=hidden.device).expand(len(hidden[part])), work)
            best = z.topk(count)
            ids[part], found[part] = best.indices, best.values - z.logsumexp(1, keepdim=True)
    return ids, found


def picked(model: Transformer, batch: MicroBatch, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probs [M, K] of given tokens ids [M, K] at each target, with gradient, and entropies [M] without."""
    return PickedLogProbs.apply(states(model, batch), model.head_weight, ids, LIMITS, model.direct_gradients)


class PickedLogProbs(torch.autograd.Function):
    """Output projection, log-softmax and pick in one, with the gradient written out.

    forward(hidden [M, C], weight [V, C], ids [M, K], limits, direct) -> (logp [M, K], entropy [M] without gradient).
    With p = softmax(z) and g the gradient of logp: d z = scatter(g) - p sum_k g. Logits are computed again in backward.
    `direct` is that of HeadLogProbs.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, ids: Tensor, limits: Limits, direct: bool):
        ctx.parameter, ctx.weight_dtype = weight if direct else None, weight.dtype
        weight = weight.to(hidden.dtype)
        ctx.step = max(1, min(len(ids), limits.chunk // weight.shape[0]))
        logp = hidden.new_empty(ids.shape, dtype=torch.promote_types(hidden.dtype, torch.float32))
        entropy, normaliser = torch.empty_like(logp[:, 0]), torch.empty_like(logp[:, 0])
        scale = torch.ones_like(normaliser)
        work = hidden.new_empty(ctx.step, weight.shape[0])
        with torch.autocast(hidden.device.type, enabled=False):
            for part in parts(len(ids), ctx.step):
                z = logits(hidden[part], weight, scale[part], work)
                normaliser[part] = z.logsumexp(1)
                logp[part] = z.gather(1, ids[part]) - normaliser[part, None]
                z -= normaliser[part, None]
                entropy[part] = -(z.exp() * z).sum(1)
        ctx.save_for_backward(hidden, weight, ids, normaliser, scale)
        ctx.mark_non_differentiable(entropy)
        return logp, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx, slopes: Tensor, _: Tensor):
        hidden, weight, ids, normaliser, scale = ctx.saved_tensors
        hidden_grad, weight_grad = torch.empty_like(hidden), None
        if ctx.needs_input_grad[1] and ctx.parameter is None:
            weight_grad = torch.zeros_like(weight, dtype=ctx.weight_dtype)
        elif ctx.needs_input_grad[1]:
            weight_grad = own_gradient(ctx.parameter)
        work = hidden.new_empty(ctx.step, weight.shape[0])
        for part in parts(len(ids), ctx.step):
            slope = slopes[part]
            grad = logits(hidden[part], weight, scale[part], work).sub_(normaliser[part, None]).exp_()
            grad.mul_(-slope.sum(1, keepdim=True)).scatter_add_(1, ids[part], slope)
            grad = grad.to(weight.dtype)
            torch.mm(grad, weight, out=hidden_grad[part])
            if weight_grad is not None:
                weight_grad += grad.T @ hidden[part]
        return hidden_grad, None if ctx.parameter is not None else weight_grad, None, None, None
