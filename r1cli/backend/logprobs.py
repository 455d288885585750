"""Log-probabilities of completion tokens, by chunks: the [tokens, vocabulary] matrix never exists whole.

It takes packed micro-batches and a model; it does not choose the micro-batches (packing.py) and computes no loss.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from r1cli.backend.kernels import own_gradient
from r1cli.backend.model import Transformer
from r1cli.backend.packing import MicroBatch, take


class Limits(NamedTuple):
    """Elements of logits: how many may be worked on at once, and up to how many are kept for backward.

    Twice 128 MB in fp32 while at work, for more rows make a faster product; 256 MB kept. Above that they are computed
    again, chunk by chunk: an eighth more work than the whole update has otherwise.
    """

    chunk: int = 2**25
    kept: int = 2**26


LIMITS = Limits()


def token_logprobs(model: Transformer, batch: MicroBatch, temperatures: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies [M] of the batch's completion tokens under softmax(logits / temperature), fp32.

    `temperatures` [sequences of the batch] are positive. Both outputs carry gradients unless under no_grad.
    """
    return head_logprobs(model, states(model, batch), batch.targets, temperatures.reciprocal()[batch.rows])


def states(model: Transformer, batch: MicroBatch) -> Tensor:
    """The hidden states [M, C] that predict the batch's M targets, in the precision of the head's product."""
    hidden = model.hidden(batch.tokens, batch.positions, batch.attend)
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    return take(hidden, batch.predictors)


def head_logprobs(model: Transformer, hidden: Tensor, targets: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """What follows the hidden states [M, C]: the part of token_logprobs that uses the head's weight."""
    return HeadLogProbs.apply(hidden, model.head_weight, targets, scale, LIMITS, model.direct_gradients)


class HeadLogProbs(torch.autograd.Function):
    """Output projection, log-softmax, pick and entropy in one, with the gradient written out.

    forward(hidden [M, C], weight [V, C], targets [M], scale [M] = 1/temperature, limits, direct) -> (logp [M], entropy
    [M]). The product runs in hidden's dtype, everything after it in fp32 or better. With z = scale * logits,
    p = softmax(z): d logp = onehot - p and d entropy = -p (log p + entropy), per element of z. With `direct` the
    weight's gradient is added to weight.grad by backward itself: no second [V, C] exists.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor, scale: Tensor, limits: Limits, direct: bool):
        count, vocabulary = len(targets), weight.shape[0]
        ctx.parameter = weight if direct else None
        ctx.weight_dtype = weight.dtype
        weight = weight.to(hidden.dtype)
        ctx.step = max(1, min(count, limits.chunk // vocabulary))
        logp = hidden.new_empty(count, dtype=torch.promote_types(hidden.dtype, torch.float32))
        entropy, normaliser = torch.empty_like(logp), torch.empty_like(logp)
        # Kept are exp(z - normaliser), the probabilities; what is not kept shares one chunk.
        keep = any(ctx.needs_input_grad) and count * vocabulary <= limits.kept
        chances = logp.new_empty(count if keep else ctx.step, vocabulary)
        work = hidden.new_empty(ctx.step, vocabulary)
        with torch.autocast(hidden.device.type, enabled=False):
            for part in parts(count, ctx.step):
                z = logits(hidden[part], weight, scale[part], work)
                top = z.amax(1, keepdim=True)
                z -= top
                picked = z.gather(1, targets[part, None])[:, 0]
                share = torch.exp(z, out=chances[part] if keep else chances[: len(z)])
                total = share.sum(1)
                log = total.log()
                entropy[part] = log - z.mul_(share).sum(1) / total
                logp[part] = picked - log
                normaliser[part] = log + top[:, 0]
                if keep:
                    share.div_(total[:, None])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hidden, weight, targets, scale, entropy, normaliser, chances if keep else None)
        return logp, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx, logp_grad: Tensor | None, entropy_grad: Tensor | None):
        hidden, weight, targets, scale, entropy, normaliser, kept = ctx.saved_tensors
        hidden_grad = torch.empty_like(hidden)
        weight_grad = None
        if ctx.needs_input_grad[1] and ctx.parameter is None:
            weight_grad = torch.zeros_like(weight, dtype=ctx.weight_dtype)
        elif ctx.needs_input_grad[1]:
            weight_grad = own_gradient(ctx.parameter)
        work = hidden.new_empty(ctx.step, weight.shape[0])
        for part in parts(len(targets), ctx.step):
            target = targets[part, None]
            if kept is None:
                chances = logits(hidden[part], weight, scale[part], work).sub_(normaliser[part, None]).exp_()
            else:
                chances = kept[part]
            slope = torch.zeros_like(scale[part, None]) if logp_grad is None else logp_grad[part, None]
            pull = None
            if entropy_grad is not None:
                # xlogy and not log: a probability that underflows to 0 has entropy 0.
                pull = torch.special.xlogy(chances, chances).addcmul_(chances, entropy[part, None])
                pull.mul_(entropy_grad[part, None])
            # Where the gradient is narrower than the probabilities it is rounded only once it is whole.
            spare = chances if kept is None else work[: len(target)] if work.dtype == chances.dtype else None
            grad = torch.mul(chances, -slope, out=spare)
            if pull is not None:
                grad -= pull
            grad.scatter_add_(1, target, slope)
            grad = grad.mul_(scale[part, None]).to(weight.dtype)
            torch.mm(grad, weight, out=hidden_grad[part])
            if weight_grad is None:
                continue
            if weight_grad.dtype == grad.dtype:
                weight_grad.addmm_(grad.T, hidden[part])
            else:
                weight_grad += grad.T @ hidden[part]
        return hidden_grad, None if ctx.parameter is not None else weight_grad, None, None, None, None


def logits(hidden: Tensor, weight: Tensor, scale: Tensor, work: Tensor) -> Tensor:
    """scale [m] * hidden [m, C] @ weight.T [C, V] in fp32 or better; written into `work` where that is wide enough.

    Memory that is new to the process costs a third of the product's time, hence the one buffer for all chunks.
    """
    z = torch.mm(hidden, weight.T, out=work[: len(hidden)])
    if z.dtype in (torch.bfloat16, torch.float16):
        z = z.float()
    return z.mul_(scale[:, None])


def parts(count: int, step: int) -> list[slice]:
    """[0, count) in slices of at most `step`."""
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]
