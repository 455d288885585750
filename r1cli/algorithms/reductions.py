"""Weights that turn per-token losses into the loss of a minibatch.

The loss is sum_t w[sequence of t] * l_t, with weights computed once for the whole minibatch; micro-batches (and ranks)
only add up their shares, so that no cut of the minibatch changes the gradient. It does not know why a sequence is kept
or masked: the caller says.
"""

import torch
from torch import Tensor


def token_weights(lengths: Tensor, keep: Tensor, *, normalize: str, constant: float | None = None) -> Tensor:
    """Weight of each token of each sequence of a minibatch: lengths [B] (float, in tokens), keep [B] bool -> [B].

    With K the number of kept sequences:

    - "sequence": 1 / (K * length), the mean over sequences of token means (GRPO: DeepSeekMath; DeepSeek-R1, section
      2.2);
    - "token": 1 / (tokens of the kept sequences), the mean over all tokens of the minibatch (DAPO);
    - "constant": 1 / (K * constant), token sums over a fixed budget, so that length carries no weight (Dr. GRPO).

    Sequences that are not kept (truncated ones under `mask_truncated`, rollouts marked as dropped, empty ones) get
    weight 0 and are left out of every denominator, as DAPO's overlong filtering and verl do. So a mask equals the
    removal of the sequence, the weights of "sequence" and "token" always sum to 1, and a batch with many truncated
    answers does not silently take smaller steps. A kept sequence whose advantage is 0 (an equal group, a failed
    reward) does count: it is a sample of the objective whose term happens to be 0, and the KL term still applies to
    it.

    Nothing kept gives all zeros. Raises ValueError for an unknown `normalize` and for "constant" without a constant.
    """
    kept = (keep & (lengths > 0)).to(lengths.dtype)
    count = kept.sum()
    if normalize == "sequence":
        denominators = count * lengths
    elif normalize == "token":
        denominators = (kept * lengths).sum().expand_as(lengths)
    elif normalize == "constant":
        if constant is None or not constant > 0:
            raise ValueError(f"normalize 'constant' needs a constant above 0, got {constant}")
        denominators = (count * constant).expand_as(lengths)
    else:
        raise ValueError(f"unknown normalize {normalize!r}; known are sequence, token, constant")
    return torch.where(kept > 0, 1 / denominators, torch.zeros_like(lengths))
