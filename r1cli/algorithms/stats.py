"""Sums and maxima over tokens that micro-batches hand up, and the metrics they become.

A mean of means depends on how a minibatch was cut; sums and maxima do not. Every key says how it merges: `sum_*` adds,
`max_*` keeps the larger. It does not decide what is measured: losses.py does.
"""

from torch import Tensor

# metric -> (sum it is made from, count it is divided by)
MEANS = {
    "kl": ("sum_kl", "sum_tokens"),
    "entropy": ("sum_entropy", "sum_tokens"),
    "clip_fraction": ("sum_clipped", "sum_tokens"),
    "ratio_mean": ("sum_ratio", "sum_tokens"),
    "logprob_gap_mean": ("sum_gap", "sum_tokens"),
    "correction_fraction": ("sum_corrected", "sum_tokens"),
    "offpolicy_fraction": ("sum_offpolicy", "sum_sequences"),
}
PLAIN = {
    "loss": "sum_loss",
    "weights_sum": "sum_weights",
    "ratio_max": "max_ratio",
    "ratio_deviation": "max_ratio_deviation",
    "logprob_gap_max": "max_gap",
}


def merge(total: dict[str, Tensor], part: dict[str, Tensor]) -> dict[str, Tensor]:
    """Joins the stats of two disjoint sets of sequences; an empty dict is the neutral start.

    Raises ValueError when the two measured different things: a mean over half of the tokens would look like a whole
    one.
    """
    if not total or not part:
        return dict(total or part)
    if total.keys() != part.keys():
        raise ValueError(f"cannot merge stats of different keys: {sorted(total.keys() ^ part.keys())} only on one side")
    return {key: total[key] + part[key] if key.startswith("sum_") else total[key].maximum(part[key]) for key in total}


def summarize(stats: dict[str, Tensor]) -> dict[str, float | int | None]:
    """Metrics of a minibatch from its merged stats.

    A metric whose stat was not measured (no reference, no sampler) is left out; one measured over no token at all
    (every sequence masked) is None. `tokens` counts trained tokens, those of sequences with weight; the means are
    over these.
    """
    metrics: dict[str, float | int | None] = {name: stats[key].item() for name, key in PLAIN.items() if key in stats}
    for name, (total, count) in MEANS.items():
        if total in stats:
            number = stats[count].item()
            metrics[name] = stats[total].item() / number if number else None
    metrics["tokens"] = int(stats["sum_tokens"].item())
    return metrics
