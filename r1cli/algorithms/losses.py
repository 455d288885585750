"""The policy loss of a set of whole sequences, with everything that is added to it: KL, corrections, entropy bonus.

The weights come from the whole minibatch (reductions.py), so calls on disjoint sets of sequences add up to the loss and
the gradient of their union. It does no forward pass and computes no advantage.
"""

import torch
from torch import Tensor

from r1cli.algorithms.kl import kl_penalty, unbias
from r1cli.algorithms.mismatch import offpolicy_sequences, sampler_correction
from r1cli.algorithms.ratios import LOG_LIMIT, bounded_exp, log_ratio, sequence_sum
from r1cli.algorithms.settings import GrpoSettings


def grpo_loss(
    logp: Tensor,
    *,
    old: Tensor,
    sampler: Tensor | None,
    reference: Tensor | None,
    entropy: Tensor | None,
    advantages: Tensor,
    rows: Tensor,
    weights: Tensor,
    settings: GrpoSettings,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of whole sequences: logp [N] with gradient, old, sampler, reference, entropy, rows [N] -> (scalar, stats).

    advantages [B], weights [B] (of a token of that sequence, reductions.token_weights); rows in [0, B), any order.

        loss = sum_t w_t * ( c_t * policy_t + kl * KL_t - entropy * H_t )

    Terms that belong to a sequence (loss "r1", "gspo") stand at each of its tokens, so that with "sequence" weights the
    sequence counts 1 / B (DeepSeek-R1, section 2.2). c_t holds the sampler correction and the off-policy mask; like
    in TRL it touches neither KL nor entropy. `entropy` needs a gradient only where settings.entropy > 0.

    The stats are plain sums and maxima over the tokens of sequences with weight, see stats.merge and stats.summarize.
    kl there is the mean per token whatever the loss; clip counts tokens that lose gradient (for "cispo": weight) to a
    clip.

    Raises ValueError when a term is asked for and its input is None.
    """
    _demand(sampler, reference, entropy, settings)
    count = advantages.numel()
    token_weights, token_advantages = weights[rows], advantages.detach()[rows]
    log = log_ratio(logp, old, rows, count, loss=settings.loss)
    ratio = bounded_exp(log)
    if settings.loss == "cispo":
        policy, cut = cispo(logp, ratio.detach(), token_advantages, settings)
    else:
        policy, cut = clipped_surrogate(ratio, token_advantages, settings)
        cut = cut | ((log.detach().abs() > LOG_LIMIT) & (token_advantages != 0))
    trained = token_weights > 0
    stats = _ratio_stats(ratio.detach(), cut, trained, token_weights, weights)
    if settings.correction != "none" and sampler is not None:
        factor, altered = sampler_correction(
            old,
            sampler,
            rows,
            count,
            mode=settings.correction,
            low=settings.correction_min,
            high=settings.correction_max,
        )
        policy = policy * factor
        stats["sum_corrected"] = _total(altered, trained)
    if settings.offpolicy_mask is not None:
        sampled = old if sampler is None else sampler
        dropped = offpolicy_sequences(logp, sampled, advantages, rows, delta=settings.offpolicy_mask)
        policy = policy.masked_fill(dropped[rows], 0.0)
        stats["sum_offpolicy"] = _total(dropped, weights > 0)
    loss = (token_weights * policy).sum()
    if settings.kl and reference is not None:
        loss = loss + settings.kl * (token_weights * _kl_term(logp, old, reference, rows, count, settings)).sum()
    if settings.entropy and entropy is not None:
        loss = loss - settings.entropy * (token_weights * entropy).sum()
    stats["sum_loss"] = loss.detach().double()
    if reference is not None:
        stats["sum_kl"] = _total(kl_penalty(logp.detach(), reference, settings.kl_estimator), trained)
    if entropy is not None:
        stats["sum_entropy"] = _total(entropy.detach(), trained)
    if sampler is not None:
        # With old_logprobs "sampler" old is the sampler's own, and the gap would read 0 whatever the engines do.
        trainer = logp if settings.old_logprobs == "sampler" else old
        gap = (trainer.detach() - sampler).abs()
        stats["sum_gap"], stats["max_gap"] = _total(gap, trained), _largest(gap, trained)
    return loss, stats


def clipped_surrogate(ratio: Tensor, advantages: Tensor, settings: GrpoSettings) -> tuple[Tensor, Tensor]:
    """Policy loss -min(r A, clip(r) A) of each token: ratio [N], advantages [N] -> (loss [N], cut [N] bool).

    clip holds r within [1 - clip_low, 1 + clip_high] (DeepSeek-R1, section 2.2; unequal bounds: DAPO's clip-higher).
    The min leaves a negative advantage with a large ratio unbounded; dual_clip bounds it: min(max(-r A, -clip(r) A),
    -c A) there. `cut` marks the tokens that take the constant branch, hence give no gradient.
    """
    low, high = 1 - settings.clip_low, 1 + settings.clip_high
    # The min written as a choice: torch.min would do, but the choice itself is the clip metric.
    above, below = (advantages > 0) & (ratio > high), (advantages < 0) & (ratio < low)
    bounded = torch.where(above, high, torch.where(below, low, ratio))
    cut = above | below
    if settings.dual_clip is not None:
        beyond = (advantages < 0) & (ratio > settings.dual_clip)
        bounded, cut = torch.where(beyond, settings.dual_clip, bounded), cut | beyond
    return -bounded * advantages, cut


def cispo(logp: Tensor, ratio: Tensor, advantages: Tensor, settings: GrpoSettings) -> tuple[Tensor, Tensor]:
    """Policy loss -sg(clip(r)) A log pi of each token: logp [N], ratio [N] detached, advantages [N] -> (loss, cut) [N].

    Every token keeps a gradient; the clip bounds only its weight, at 1 + clip_high, and at 1 - clip_low where that is
    above 0 (MiniMax-M1, CISPO, has no lower bound). TRL's epsilon_high is the bound itself, so its 5.0 is clip_high
    4.0 here.
    """
    low, high = 1 - settings.clip_low, 1 + settings.clip_high
    cut = ((ratio < low) | (ratio > high)) & (advantages != 0)
    return -ratio.clamp(low, high) * advantages * logp, cut


def _kl_term(logp: Tensor, old: Tensor, reference: Tensor, rows: Tensor, count: int, settings: GrpoSettings) -> Tensor:
    gap, log = logp - reference, logp - old.detach()
    if settings.loss == "r1":
        # R1 prints output-level probabilities in the KL as well as in the ratio.
        gap, log = sequence_sum(gap, rows, count), sequence_sum(log, rows, count)
    penalty = kl_penalty(gap, torch.zeros_like(gap), settings.kl_estimator)
    if settings.kl_unbiased:
        # Always the ratio at the level of the penalty itself: GSPO's mean ratio would not make a token's KL unbiased.
        penalty = unbias(penalty, bounded_exp(log), settings.kl_estimator)
    return penalty[rows] if settings.loss == "r1" else penalty


def _demand(sampler: Tensor | None, reference: Tensor | None, entropy: Tensor | None, settings: GrpoSettings) -> None:
    if settings.correction != "none" and sampler is None:
        raise ValueError(f"correction {settings.correction!r} needs the sampler's log-probs, got none")
    if settings.kl and reference is None:
        raise ValueError(f"kl {settings.kl} needs the reference's log-probs, got none; set kl to 0 or give a reference")
    if settings.entropy and entropy is None:
        raise ValueError(f"entropy {settings.entropy} needs the entropy of each token, got none")


def _ratio_stats(
    ratio: Tensor, cut: Tensor, trained: Tensor, token_weights: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    return {
        "sum_tokens": trained.sum().double(),
        "sum_sequences": (weights > 0).sum().double(),
        "sum_weights": token_weights.sum(dtype=torch.float64),
        "sum_clipped": _total(cut, trained),
        "sum_ratio": _total(ratio, trained),
        "max_ratio": _largest(ratio, trained),
        "max_ratio_deviation": _largest((ratio - 1).abs(), trained),
    }


def _total(values: Tensor, trained: Tensor) -> Tensor:
    return torch.where(trained, values, 0).sum(dtype=torch.float64)


def _largest(values: Tensor, trained: Tensor) -> Tensor:
    # The appended 0 is the answer for no token at all; ratios and gaps are never below it.
    return torch.cat([torch.where(trained, values, 0.0), values.new_zeros(1)]).max().double()
