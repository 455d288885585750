"""Log-probabilities of completion tokens, by chunks: the [tokens, vocabulary] matrix never exists whole.

It takes packed micro-batches and a model; it does not choose the micro-batches (packing.py) and computes no loss.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from r1cli.backend.model import Transformer
from r1cli.backend.packing import MicroBatch, take

# Elements of logits that may exist at once (64 MiB in fp32). Below it they are kept for backward, above recomputed
# chunk by chunk.
CHUNK_ELEMENTS = 2**24


def token_logprobs(model: Transformer, batch: MicroBatch, temperatures: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies [M] of the batch's completion tokens under softmax(logits / temperature), fp32.

    `temperatures` [sequences of the batch] are positive. Both outputs carry gradients unless under no_grad.
    """
    hidden = model.hidden(batch.tokens, batch.positions, batch.attend)
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    scale = temperatures.reciprocal()[batch.rows]
    return head_logprobs(model, take(hidden, batch.predictors), batch.targets, scale)


def head_logprobs(model: Transformer, hidden: Tensor, targets: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """What follows the hidden states [M, C]: the part of token_logprobs that uses the head's weight."""
    return HeadLogProbs.apply(hidden, model.head_weight, targets, scale, CHUNK_ELEMENTS)


class HeadLogProbs(torch.autograd.Function):
    """Output projection, log-softmax, pick and entropy in one, with the gradient written out.

    forward(hidden [M, C], weight [V, C], targets [M], scale [M] = 1/temperature, elements) -> (logp [M], entropy [M]).
    The product runs in hidden's dtype, everything after it in fp32 or better; at most `elements` logits exist at once.
    With z = scale * logits, p = softmax(z): d logp = onehot - p and d entropy = -p (log p + entropy), per element of z.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor, scale: Tensor, elements: int):
        step = max(1, elements // weight.shape[0])
        count = len(targets)
        logp = hidden.new_empty(count, dtype=torch.promote_types(hidden.dtype, torch.float32))
        entropy = torch.empty_like(logp)
        chances = None
        ctx.weight_dtype = weight.dtype
        weight = weight.to(hidden.dtype)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, count, step):
                part = slice(start, start + step)
                chances, logp[part], entropy[part] = distribution(hidden[part], weight, targets[part], scale[part])
        ctx.step = step
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hidden, weight, targets, scale, entropy, chances if count <= step else None)
        return logp, entropy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, logp_grad: Tensor | None, entropy_grad: Tensor | None):
        hidden, weight, targets, scale, entropy, kept = ctx.saved_tensors
        hidden_grad = torch.empty_like(hidden)
        # A frozen head (LoRA) has no gradient to make.
        weight_grad = torch.zeros_like(weight, dtype=ctx.weight_dtype) if ctx.needs_input_grad[1] else None
        for start in range(0, len(targets), ctx.step):
            part = slice(start, start + ctx.step)
            target = targets[part, None]
            chances = distribution(hidden[part], weight, target[:, 0], scale[part])[0] if kept is None else kept
            slope = torch.zeros_like(scale[part, None]) if logp_grad is None else logp_grad[part, None]
            grad = chances * -slope
            if entropy_grad is not None:
                # xlogy and not log: a probability that underflows to 0 has entropy 0.
                pull = torch.special.xlogy(chances, chances).addcmul_(chances, entropy[part, None])
                grad.addcmul_(pull, entropy_grad[part, None], value=-1)
            grad.scatter_add_(1, target, slope)
            grad = grad.mul_(scale[part, None]).to(weight.dtype)
            torch.mm(grad, weight, out=hidden_grad[part])
            if weight_grad is not None:
                weight_grad += grad.T @ hidden[part]
        return hidden_grad, weight_grad, None, None, None


def distribution(hidden: Tensor, weight: Tensor, targets: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """softmax(scale * hidden [m, C] @ weight.T) as probabilities [m, V], with log-probs of the targets and entropies
    [m].

    One exponential a logit: a log-softmax and its way back would take three.
    """
    logits = F.linear(hidden, weight)
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    logits.mul_(scale[:, None])
    logits -= logits.amax(1, keepdim=True)
    picked = logits.gather(1, targets[:, None])[:, 0]
    chances = logits.exp()
    total = chances.sum(1)
    normaliser = total.log()
    entropy = normaliser - logits.mul_(chances).sum(1) / total
    return chances.div_(total[:, None]), picked - normaliser, entropy
