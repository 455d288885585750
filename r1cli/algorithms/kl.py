"""Estimators of KL(pi_theta || pi_ref) from the log-probabilities of sampled tokens, for use in the loss.

It does not know sequences: a per-sequence penalty is the same function on summed log-probabilities.
"""

from torch import Tensor

from r1cli.algorithms.ratios import LOG_LIMIT

# Those whose gradient, not only their value, is that of the KL under samples of pi_theta.
RIGHT_GRADIENT = ("k2", "k3-straight-through")


def kl_penalty(logp: Tensor, ref: Tensor, estimator: str) -> Tensor:
    """KL estimate of each element: logp [N], ref [N] -> [N]; with d = logp - ref held within +-20.

    - "k1" = d: right value on average, and as a loss no gradient on average;
    - "k2" = d^2 / 2: biased value, right gradient;
    - "k3" = exp(-d) + d - 1: right value, never negative, gradient of the reverse direction (DeepSeek-R1, section 2.2);
    - "k3-straight-through": the value of k3 with the gradient of k2.

    Raises ValueError for an unknown estimator.
    """
    d = (logp - ref.detach()).clamp(-LOG_LIMIT, LOG_LIMIT)
    if estimator == "k1":
        return d
    k2 = d.square() / 2
    if estimator == "k2":
        return k2
    k3 = (-d).exp() + d - 1
    if estimator == "k3":
        return k3
    if estimator == "k3-straight-through":
        return k3.detach() + (k2 - k2.detach())
    raise ValueError(f"unknown KL estimator {estimator!r}; known are k1, k2, k3, k3-straight-through")


def unbias(penalty: Tensor, ratio: Tensor, estimator: str) -> Tensor:
    """KL penalty times pi_theta / pi_old, unbiased also off policy: penalty [N], ratio [N] -> [N] (DeepSeek-V3.2).

    For k1 and k3 the gradient flows through the ratio too: that is the part that makes it the gradient of the KL
    (without it k1 has none, on policy as well). k2's gradient is right as it is, so there the ratio is a mere weight;
    letting it flow would count the value's gradient twice.
    """
    return penalty * (ratio.detach() if estimator in RIGHT_GRADIENT else ratio)
