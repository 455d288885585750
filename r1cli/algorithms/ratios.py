"""Sums over sequences in a flat batch, and the importance ratios of the policy losses.

Tokens are flat [N] and `rows` [N] names the sequence of each; there is no padding. It knows no advantage and no
clipping.
"""

import torch
from torch import Tensor

# exp(20) = 4.9e8 is far beyond every clip range, and float32 overflows at exp(88): a sequence of 32,768 tokens gets
# there with a drift of .003 a token. Outside, the ratio is constant, so the token gives no gradient.
LOG_LIMIT = 20.0


def sequence_sum(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """Sum over the tokens of each sequence: values [N], rows [N] int64 in [0, count) -> [count]."""
    return torch.zeros(count, dtype=values.dtype, device=values.device).index_add(0, rows, values)


def sequence_mean(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """Mean over the tokens of each sequence: values [N], rows [N] int64 -> [count]; 0 for a sequence without tokens."""
    lengths = sequence_sum(torch.ones_like(values), rows, count)
    return sequence_sum(values, rows, count) / lengths.clamp(min=1)


def bounded_exp(log: Tensor) -> Tensor:
    """exp with its argument held within +-LOG_LIMIT; any shape, no gradient outside."""
    return log.clamp(-LOG_LIMIT, LOG_LIMIT).exp()


def log_ratio(logp: Tensor, old: Tensor, rows: Tensor, count: int, *, loss: str) -> Tensor:
    """Log of the ratio pi_theta / pi_old that a loss uses, for every token: logp [N], old [N], rows [N] -> [N].

    - "grpo", "cispo": the token's own (DeepSeekMath; MiniMax-M1);
    - "r1": the sequence's, the sum over its tokens (DeepSeek-R1, section 2.2);
    - "gspo": the mean over its tokens, log s_i (GSPO);
    - "gspo-token": the value of s_i, the gradient of the token's own log-probability (GSPO-token).

    It is exactly 0 where old equals logp, so the ratio is exactly 1 on policy while the gradient flows through logp.
    """
    gap = logp - old.detach()
    if loss == "r1":
        return sequence_sum(gap, rows, count)[rows]
    if loss == "gspo":
        return sequence_mean(gap, rows, count)[rows]
    if loss == "gspo-token":
        return sequence_mean(gap.detach(), rows, count)[rows] + (logp - logp.detach())
    return gap
