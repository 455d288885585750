"""Repairs for samples that do not come from the policy the trainer thinks: another engine, or an older policy.

Weights and masks only, all without gradient; the loss multiplies its policy term by them. Tokens that get weight 0 here
stay in the denominators of the reduction: the estimate is a weighted one of the same objective.
"""

import torch
from torch import Tensor

from r1cli.algorithms.ratios import bounded_exp, sequence_mean, sequence_sum


def sampler_correction(
    old: Tensor, sampler: Tensor, rows: Tensor, count: int, *, mode: str, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Importance weight pi_trainer(old) / pi_sampler: old [N], sampler [N], rows [N] -> (weight [N], altered [N] bool).

    With rho = exp(old - sampler), a product over the sequence for "sequence-*", a geometric mean for "geometric-mask":

    - "token-truncate", "sequence-truncate": rho held within [low, high] (truncated importance sampling);
    - "token-mask", "sequence-mask": rho where it lies within [low, high], else 0 (IcePop, masked importance sampling);
    - "geometric-mask": 1 where it lies within [low, high], else 0 for the whole sequence; bounds near 1 (.999 to
      1.001).

    `altered` marks the tokens that a bound changed. The product is unbiased but leaves any fixed bound as sequences
    grow; the geometric mean does not depend on length. Log-probabilities must be finite. Raises ValueError for an
    unknown mode.
    """
    gap = (old - sampler).detach()
    if mode in ("token-truncate", "token-mask"):
        rho = bounded_exp(gap)
    elif mode in ("sequence-truncate", "sequence-mask"):
        rho = bounded_exp(sequence_sum(gap, rows, count))[rows]
    elif mode == "geometric-mask":
        rho = bounded_exp(sequence_mean(gap, rows, count))[rows]
    else:
        raise ValueError(f"unknown correction {mode!r}; see r1cli.algorithms.settings.CHOICES")
    altered = (rho < low) | (rho > high)
    if mode in ("token-truncate", "sequence-truncate"):
        return rho.clamp(low, high), altered
    value = torch.ones_like(rho) if mode == "geometric-mask" else rho
    return value.masked_fill(altered, 0.0), altered


def offpolicy_sequences(logp: Tensor, old: Tensor, advantages: Tensor, rows: Tensor, *, delta: float) -> Tensor:
    """Sequences to drop as too far off policy: logp [N], old [N], advantages [B], rows [N] int64 -> [B] bool.

    True where the advantage is negative and mean_t(old - logp) > delta (DeepSeek-V3.2, off-policy sequence masking):
    the policy has moved away from a wrong answer already, and pushing further only distorts it. `old` is the policy
    that sampled: the engine's own log-probabilities where they are at hand.
    """
    drift = sequence_mean((old - logp).detach(), rows, advantages.numel())
    return (advantages < 0) & (drift > delta)
