"""Sampler corrections and the off-policy mask, by hand."""

import math

import pytest
import torch

from r1cli.algorithms.mismatch import offpolicy_sequences, sampler_correction

# Two sequences, of three tokens and of two. Token rho: .5, 4, 1 and 2, 1.25.
# Products 2 and 2.5; geometric means 2^(1/3) = 1.26 and 2.5^(1/2) = 1.58.
ROWS = torch.tensor([0, 0, 0, 1, 1])
RHO = torch.tensor([0.5, 4.0, 1.0, 2.0, 1.25], dtype=torch.float64)
SAMPLER = torch.full((5,), -2.0, dtype=torch.float64)


@pytest.mark.parametrize(
    ("mode", "low", "high", "want", "altered"),
    [
        ("token-truncate", 0.0, 2.0, [0.5, 2, 1, 2, 1.25], [0, 1, 0, 0, 0]),
        ("token-truncate", 0.8, 2.0, [0.8, 2, 1, 2, 1.25], [1, 1, 0, 0, 0]),
        ("token-mask", 0.0, 3.0, [0.5, 0, 1, 2, 1.25], [0, 1, 0, 0, 0]),
        ("token-mask", 0.8, 3.0, [0, 0, 1, 2, 1.25], [1, 1, 0, 0, 0]),
        ("sequence-truncate", 0.0, 2.25, [2, 2, 2, 2.25, 2.25], [0, 0, 0, 1, 1]),
        ("sequence-mask", 0.0, 2.25, [2, 2, 2, 0, 0], [0, 0, 0, 1, 1]),
        ("sequence-mask", 2.25, 9.0, [0, 0, 0, 2.5, 2.5], [1, 1, 1, 0, 0]),
        ("geometric-mask", 0.5, 1.5, [1, 1, 1, 0, 0], [0, 0, 0, 1, 1]),
        ("geometric-mask", 1.5, 2.0, [0, 0, 0, 1, 1], [1, 1, 1, 0, 0]),
    ],
)
def test_modes(mode, low, high, want, altered):
    """Every mode against the numbers above; the weight carries no gradient."""
    old = (SAMPLER + RHO.log()).requires_grad_()
    weight, cut = sampler_correction(old, SAMPLER, ROWS, 2, mode=mode, low=low, high=high)
    assert weight.tolist() == pytest.approx(want) and cut.tolist() == [bool(x) for x in altered]
    assert not weight.requires_grad


@pytest.mark.parametrize(
    "mode", ["token-truncate", "sequence-truncate", "token-mask", "sequence-mask", "geometric-mask"]
)
def test_agreement_is_exactly_one(mode):
    """A sampler that equals the trainer changes nothing, to the bit."""
    weight, cut = sampler_correction(SAMPLER, SAMPLER, ROWS, 2, mode=mode, low=0.999, high=1.001)
    assert weight.tolist() == [1.0] * 5 and not cut.any()


def test_long_sequences_do_not_overflow():
    """A drift of .1 over 10,000 tokens is exp(1000): held finite, then truncated or masked."""
    rows, sampler = torch.zeros(10_000, dtype=torch.int64), torch.full((10_000,), -1.0)
    for mode, want in (("sequence-truncate", 2.0), ("sequence-mask", 0.0)):
        weight, cut = sampler_correction(sampler + 0.1, sampler, rows, 1, mode=mode, low=0.0, high=2.0)
        assert (weight == want).all() and cut.all()


def test_unknown_mode():
    """A typo is not silently no correction."""
    with pytest.raises(ValueError, match="'token-trunc'"):
        sampler_correction(SAMPLER, SAMPLER, ROWS, 2, mode="token-trunc", low=0.0, high=2.0)


def test_offpolicy_sequences():
    """mean(old - logp) is 0.6, 0.6, 0.4 and -9: only a negative advantage with a mean above delta is dropped."""
    rows = torch.tensor([0, 0, 1, 1, 2, 3])
    drift = torch.tensor([1.2, 0.0, 1.2, 0.0, 0.4, -9.0])
    logp = torch.full((6,), -2.0)
    scores = torch.tensor([-1.0, 1.0, -1.0, -1.0])
    assert offpolicy_sequences(logp, logp + drift, scores, rows, delta=0.5).tolist() == [True, False, False, False]
    zero = torch.zeros(4)
    assert not offpolicy_sequences(logp, logp + drift, zero, rows, delta=math.ulp(1.0)).any()
