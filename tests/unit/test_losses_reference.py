"""The policy loss against a naive per-sequence reference for every combination, and its invariants."""

import pytest
import torch

from r1cli.algorithms.losses import grpo_loss
from r1cli.algorithms.reductions import token_weights
from r1cli.algorithms.settings import CHOICES, GrpoSettings
from r1cli.algorithms.stats import merge, summarize

LENGTHS = [3, 1, 5, 2, 4, 3]
KEEP = torch.tensor([True, True, True, True, True, False])
ADVANTAGES = torch.tensor([1.2, -0.7, -1.1, 0.0, 0.8, 2.0], dtype=torch.float64)
CONSTANT = 7.0
NARROW = {"clip_low": 0.2, "clip_high": 0.28}
ALL_LOSSES = pytest.mark.parametrize("loss", CHOICES["loss"])


def batch(seed=0, spread=0.5):
    """Flat tokens of six sequences, in mixed order: a dict of [N] tensors (float64) and rows."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(LENGTHS)).repeat_interleave(torch.tensor(LENGTHS))
    rows = rows[torch.randperm(len(rows), generator=generator)]
    noise = torch.randn(5, len(rows), generator=generator, dtype=torch.float64)
    old = -1.5 + 0.5 * noise[0]
    return {
        "logp": old + spread * noise[1],
        "old": old,
        "sampler": old + spread * noise[2],
        "reference": old + spread * noise[3],
        "entropy": noise[4].exp(),
        "rows": rows,
    }


def weights_for(settings):
    lengths = torch.tensor(LENGTHS, dtype=torch.float64)
    return token_weights(lengths, KEEP, normalize=settings.normalize, constant=CONSTANT)


def run(tokens, settings, scores=ADVANTAGES, weights=None, members=None):
    """Loss, gradients by logp and entropy, and stats; `members` picks sequences, as a micro-batch would."""
    leaf, entropy = tokens["logp"].clone().requires_grad_(), tokens["entropy"].clone().requires_grad_()
    weights = weights_for(settings) if weights is None else weights
    members = torch.arange(len(scores)) if members is None else torch.tensor(members)
    chosen = torch.isin(tokens["rows"], members)
    place = torch.full((len(scores),), -1).index_put((members,), torch.arange(len(members)))
    loss, stats = grpo_loss(
        leaf[chosen],
        **{name: tokens[name][chosen] for name in ("old", "sampler", "reference")},
        entropy=entropy[chosen],
        advantages=scores[members],
        rows=place[tokens["rows"][chosen]],
        weights=weights[members],
        settings=settings,
    )
    got = torch.autograd.grad(loss, (leaf, entropy), allow_unused=True, materialize_grads=True)
    return loss.detach(), got, stats


def naive_penalty(d, estimator):
    if estimator == "k1":
        return d
    if estimator == "k2":
        return d**2 / 2
    k3 = torch.exp(-d) - (-d) - 1
    return k3 if estimator == "k3" else k3.detach() + d**2 / 2 - (d**2 / 2).detach()


def naive_policy(logp, old, score, s):
    """Policy term at each token of one sequence, straight from the papers' formulas."""
    log = logp - old
    if s.loss == "cispo":
        return -torch.clamp(log.exp(), 1 - s.clip_low, 1 + s.clip_high).detach() * score * logp
    ratio = {
        "grpo": log.exp(),
        "r1": log.sum().exp().expand_as(logp),
        "gspo": log.mean().exp().expand_as(logp),
        "gspo-token": log.mean().exp().detach() * logp.exp() / logp.exp().detach(),
    }[s.loss]
    clipped = torch.clamp(ratio, 1 - s.clip_low, 1 + s.clip_high)
    term = torch.max(-ratio * score, -clipped * score)
    if s.dual_clip is not None and score < 0:
        term = torch.min(term, -s.dual_clip * score * torch.ones_like(term))
    return term


def naive_factor(old, sampler, s):
    gap = old - sampler
    rho = {"t": gap, "s": gap.sum().expand_as(gap), "g": gap.mean().expand_as(gap), "n": 0 * gap}[s.correction[0]].exp()
    inside = ((rho >= s.correction_min) & (rho <= s.correction_max)).double()
    if s.correction == "none":
        return torch.ones_like(rho)
    if s.correction == "geometric-mask":
        return inside
    return rho * inside if s.correction.endswith("mask") else rho.clamp(s.correction_min, s.correction_max)


def naive_loss(tokens, s, logp, entropy):
    """The whole loss, one sequence after the other, the reduction written out from its definition."""
    terms = []
    for row, score in enumerate(ADVANTAGES):
        if not KEEP[row]:
            continue
        at = (tokens["rows"] == row).nonzero().flatten()
        mine, old, sampler, ref = logp[at], tokens["old"][at], tokens["sampler"][at], tokens["reference"][at]
        term = naive_policy(mine, old, score, s) * naive_factor(old, sampler, s)
        if s.offpolicy_mask is not None and score < 0 and (sampler - mine).mean() > s.offpolicy_mask:
            term = 0 * term
        d, log = mine - ref, mine - old
        if s.loss == "r1":
            d, log = d.sum().expand_as(d), log.sum().expand_as(log)
        penalty = naive_penalty(d, s.kl_estimator)
        if s.kl_unbiased:
            keeps = s.kl_estimator in ("k1", "k3")
            penalty = penalty * (log.exp() if keeps else log.exp().detach())
        terms.append(term + s.kl * penalty - s.entropy * entropy[at])
    if s.normalize == "sequence":
        return torch.stack([term.mean() for term in terms]).mean()
    if s.normalize == "token":
        return torch.cat(terms).mean()
    return torch.stack([term.sum() for term in terms]).mean() / CONSTANT


def agree(tokens, settings):
    """Compares loss and both gradients with the naive reference at 1e-6."""
    logp, entropy = tokens["logp"].clone().requires_grad_(), tokens["entropy"].clone().requires_grad_()
    want = naive_loss(tokens, settings, logp, entropy)
    wanted = torch.autograd.grad(want, (logp, entropy), allow_unused=True, materialize_grads=True)
    loss, got, _ = run(tokens, settings)
    torch.testing.assert_close(loss, want.detach(), rtol=1e-6, atol=1e-12, msg=lambda m: f"{settings}: {m}")
    for mine, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-12, msg=lambda m: f"{settings}: {m}")


@ALL_LOSSES
@pytest.mark.parametrize("normalize", CHOICES["normalize"])
def test_against_naive(loss, normalize):
    """Every loss x normalisation x KL estimator x unbiased x correction, value and gradient."""
    tokens = batch()
    for correction in CHOICES["correction"]:
        options = {"loss": loss, "normalize": normalize, "correction": correction, "correction_min": 0.6} | NARROW
        options["correction_max"] = 1.5
        agree(tokens, GrpoSettings(kl=0.0, **options))
        for estimator in CHOICES["kl_estimator"]:
            for unbiased in (False, True):
                agree(tokens, GrpoSettings(kl=0.3, kl_estimator=estimator, kl_unbiased=unbiased, **options))


@ALL_LOSSES
def test_against_naive_with_the_rest(loss):
    """Dual clip, off-policy mask, entropy bonus and the paper's wide clip, over several batches."""
    for seed in range(8):
        tokens = batch(seed, spread=1.0)
        options = {"loss": loss, "offpolicy_mask": 0.3, "entropy": 0.02, "kl": 0.1}
        agree(tokens, GrpoSettings(**options, **NARROW))
        agree(tokens, GrpoSettings(**options))
        if loss != "cispo":
            agree(tokens, GrpoSettings(dual_clip=1.5, **options, **NARROW))
            agree(tokens, GrpoSettings(dual_clip=3.0, **options))


@ALL_LOSSES
@pytest.mark.parametrize("normalize", CHOICES["normalize"])
def test_micro_batches_add_up(loss, normalize):
    """Any split of the sequences gives the same loss, gradient and metrics (weights from the whole minibatch)."""
    tokens = batch()
    settings = GrpoSettings(
        loss=loss, normalize=normalize, correction="sequence-truncate", offpolicy_mask=0.1, entropy=0.01, **NARROW
    )
    loss, got, stats = run(tokens, settings)
    for split in ([[0, 1, 2], [3, 4, 5]], [[5], [2, 0], [4], [1, 3]], [[0], [1], [2], [3], [4], [5]]):
        parts = [run(tokens, settings, members=members) for members in split]
        torch.testing.assert_close(sum(part[0] for part in parts), loss, rtol=1e-12, atol=1e-14)
        for index in (0, 1):
            torch.testing.assert_close(sum(part[1][index] for part in parts), got[index], rtol=1e-12, atol=1e-14)
        total = {}
        for part in parts:
            total = merge(total, part[2])
        assert summarize(total) == pytest.approx(summarize(stats), rel=1e-12)


@ALL_LOSSES
def test_on_policy(loss):
    """With old = logp the ratio is exactly 1, nothing is cut, and the gradient is -w A at every token.

    For "r1" it is -w A times the length: the sequence's ratio has the gradient of its whole log-probability.
    """
    tokens = batch()
    tokens["old"] = tokens["logp"]
    settings = GrpoSettings(loss=loss, kl=0.0, clip_low=0.0, clip_high=0.0)
    _, (got, _), stats = run(tokens, settings)
    metrics = summarize(stats)
    assert (metrics["ratio_mean"], metrics["ratio_max"], metrics["ratio_deviation"]) == (1.0, 1.0, 0.0)
    assert metrics["clip_fraction"] == 0.0
    each = -(weights_for(settings) * ADVANTAGES)
    if loss == "r1":
        each = each * torch.tensor(LENGTHS)
    torch.testing.assert_close(got, each[tokens["rows"]], rtol=1e-12, atol=0.0)


@ALL_LOSSES
def test_zero_advantages_give_exactly_zero(loss):
    """Groups of equal rewards, no KL: loss and gradient are 0 to the bit, on and off policy."""
    value, (got, _), _ = run(batch(), GrpoSettings(loss=loss, kl=0.0), scores=torch.zeros(6, dtype=torch.float64))
    assert value == 0 and (got == 0).all()


def test_metrics():
    """KL, entropy and gap are means over the tokens with weight; the sixth sequence is masked and counts nowhere."""
    tokens, settings = batch(), GrpoSettings(loss="r1", correction="token-mask", correction_max=1.2, **NARROW)
    metrics = summarize(run(tokens, settings)[2])
    kept = tokens["rows"] != 5
    d = (tokens["logp"] - tokens["reference"])[kept]
    gap = (tokens["old"] - tokens["sampler"])[kept]
    assert metrics["tokens"] == 15 and metrics["weights_sum"] == pytest.approx(1)
    assert metrics["kl"] == pytest.approx((torch.exp(-d) + d - 1).mean().item())
    assert metrics["entropy"] == pytest.approx(tokens["entropy"][kept].mean().item())
    assert metrics["logprob_gap_mean"] == pytest.approx(gap.abs().mean().item())
    assert metrics["logprob_gap_max"] == pytest.approx(gap.abs().max().item())
    assert metrics["correction_fraction"] == pytest.approx((gap.exp() > 1.2).double().mean().item())


def test_the_gap_of_sampler_log_probs_is_measured():
    """With old_logprobs "sampler" old is the sampler's own: the gap is then the current pass's, not a flat 0."""
    tokens = batch()
    tokens["old"] = tokens["sampler"]
    metrics = summarize(run(tokens, GrpoSettings(old_logprobs="sampler"))[2])
    want = (tokens["logp"] - tokens["sampler"])[tokens["rows"] != 5].abs().max().item()
    assert metrics["logprob_gap_max"] == pytest.approx(want) and want > 0.1
