"""The policy loss: numbers by hand, extremes, and refusals."""

import math

import pytest
import torch

from r1cli.algorithms.losses import grpo_loss
from r1cli.algorithms.settings import CHOICES, GrpoSettings
from r1cli.algorithms.stats import merge, summarize

NARROW = {"clip_low": 0.2, "clip_high": 0.28}
ALL_LOSSES = pytest.mark.parametrize("loss", CHOICES["loss"])


def hand(logp, old, scores, rows, weights, **options):
    """A call without sampler, reference and entropy; returns loss, gradient and metrics as plain numbers."""
    leaf = torch.tensor(logp, dtype=torch.float64, requires_grad=True)
    loss, stats = grpo_loss(
        leaf,
        old=torch.tensor(old, dtype=torch.float64),
        sampler=None,
        reference=None,
        entropy=None,
        advantages=torch.tensor(scores, dtype=torch.float64),
        rows=torch.tensor(rows),
        weights=torch.tensor(weights, dtype=torch.float64),
        settings=GrpoSettings(kl=0.0, **options),
    )
    return loss.item(), torch.autograd.grad(loss, leaf)[0].tolist(), summarize(stats)


def test_clip_by_hand():
    """Ratios 2 and .5 for A = +1 and A = -1, clip to [.8, 1.28].

    A = +1: min(2, 1.28) is cut; min(.5, .8) = .5 has gradient -.5. A = -1: the loss is max(2, 1.28) = 2, gradient 2,
    and max(.5, .8) = .8 is cut. Sum: -1.28 - .5 + 2 + .8 = 1.02.
    """
    logs = [math.log(2), math.log(0.5)] * 2
    rows, ones = [0, 0, 1, 1], [1.0, 1.0]
    value, got, metrics = hand(logs, [0.0] * 4, [1.0, -1.0], rows, ones, **NARROW)
    assert value == pytest.approx(1.02) and got == pytest.approx([0, -0.5, 2, 0])
    assert metrics["clip_fraction"] == 0.5 and metrics["ratio_max"] == pytest.approx(2)
    assert metrics["ratio_mean"] == pytest.approx(1.25) and metrics["ratio_deviation"] == pytest.approx(1)
    value, got, metrics = hand(logs, [0.0] * 4, [1.0, -1.0], rows, ones, dual_clip=1.5, **NARROW)
    assert value == pytest.approx(0.52) and got == pytest.approx([0, -0.5, 0, 0])
    assert metrics["clip_fraction"] == 0.75


def test_the_papers_clip_by_hand():
    """Clip ratio 10 cuts a ratio of 12 for A > 0, and nothing for A < 0 (its lower bound is -9)."""
    logs = [math.log(12), math.log(10), math.log(12), math.log(1e-3)]
    _, got, metrics = hand(logs, [0.0] * 4, [1.0, -1.0], [0, 0, 1, 1], [1.0, 1.0])
    assert got == pytest.approx([0, -10, 12, 1e-3]) and metrics["clip_fraction"] == 0.25


@pytest.mark.parametrize("loss", ["grpo", "cispo"])
def test_a_zero_advantage_is_never_cut(loss):
    """It has no gradient to lose, however far the ratio is: exp(30) here, beyond every clip."""
    metrics = hand([30.0, 30.0], [0.0, 0.0], [1.0, 0.0], [0, 1], [0.5, 0.5], loss=loss)[2]
    assert metrics["clip_fraction"] == 0.5


def test_sequence_ratio_by_hand():
    """Two tokens with ratios 2 and 1.5, A = 1, weight 1/2 each (one sequence): r1 has ratio 3, gspo sqrt(3).

    r1: loss -3, gradient -3 at both tokens. gspo: loss -1.732, gradient -1.732 / 2 at both.
    """
    logs, rest = [math.log(2), math.log(1.5)], ([0.0] * 2, [1.0], [0, 0], [0.5])
    value, got, _ = hand(logs, *rest, loss="r1")
    assert value == pytest.approx(-3) and got == pytest.approx([-3, -3])
    for loss in ("gspo", "gspo-token"):
        value, got, _ = hand(logs, *rest, loss=loss)
        assert value == pytest.approx(-math.sqrt(3)) and got == pytest.approx([-math.sqrt(3) / 2] * 2)


def test_cispo_by_hand():
    """Ratios 2 and .5, A = 1, upper bound 1.28: gradients -1.28 and -.5, no lower bound at clip_low >= 1."""
    logs, rest = [math.log(2), math.log(0.5)], ([0.0] * 2, [1.0], [0, 0], [1.0])
    value, got, metrics = hand(logs, *rest, loss="cispo", clip_high=0.28)
    assert value == pytest.approx(-1.28 * math.log(2) - 0.5 * math.log(0.5)) and got == pytest.approx([-1.28, -0.5])
    assert metrics["clip_fraction"] == 0.5
    assert hand(logs, *rest, loss="cispo", clip_high=0.28, clip_low=0.2)[1] == pytest.approx([-1.28, -0.8])


@ALL_LOSSES
def test_drifted_sequences_stay_finite(loss):
    """30,000 tokens that moved by +-50 each, in float32: loss, gradient and metrics are finite for both signs of A."""
    size = 30_000
    logp = torch.full((2 * size,), -1.0).index_fill(0, torch.arange(size), -51.0).requires_grad_()
    rows = torch.arange(2).repeat_interleave(size)
    for score in (1.0, -1.0):
        value, stats = grpo_loss(
            logp,
            old=-52.0 - logp.detach(),
            sampler=None,
            reference=-52.0 - logp.detach(),
            entropy=None,
            advantages=torch.full((2,), score),
            rows=rows,
            weights=torch.full((2,), 0.5 / size),
            settings=GrpoSettings(loss=loss),
        )
        got = torch.autograd.grad(value, logp)[0]
        assert value.isfinite() and got.isfinite().all()
        assert all(math.isfinite(number) for number in summarize(stats).values())
        if loss != "cispo":
            assert summarize(stats)["clip_fraction"] == 1.0


def test_metrics_of_nothing():
    """All sequences masked: loss 0, means are None and not made up; what was not measured is left out."""
    metrics = hand([-1.0], [-1.0], [1.0], [0], [0.0])[2]
    assert metrics["loss"] == 0 and metrics["tokens"] == 0 and metrics["ratio_mean"] is None
    assert not {"kl", "entropy", "logprob_gap_max", "correction_fraction"} & metrics.keys()


@pytest.mark.parametrize("options", [{"kl": 0.1}, {"correction": "token-mask"}, {"entropy": 0.1}])
def test_missing_inputs_are_refused(options):
    """A term that was asked for is not silently left out."""
    name, value = next(iter(options.items()))
    one = torch.ones(1)
    with pytest.raises(ValueError, match=f"{name} .*{value}"):
        grpo_loss(
            one, old=one, sampler=None, reference=None, entropy=None, advantages=one, rows=torch.tensor([0]),
            weights=one, settings=GrpoSettings(**{"kl": 0.0} | options),
        )  # fmt: skip


def test_merge_refuses_stats_of_different_things():
    """A KL measured in one micro-batch only must not pass for the whole minibatch's."""
    with pytest.raises(ValueError, match="sum_kl"):
        merge({"sum_tokens": torch.tensor(1.0)}, {"sum_tokens": torch.tensor(1.0), "sum_kl": torch.tensor(1.0)})
