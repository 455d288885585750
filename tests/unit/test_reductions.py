"""Weights of the loss reductions, by hand."""

import pytest
import torch

from r1cli.algorithms.reductions import token_weights

LENGTHS = torch.tensor([2.0, 4.0, 10.0])


def compute(keep, normalize, constant=None):
    return token_weights(LENGTHS, torch.tensor(keep), normalize=normalize, constant=constant)


def test_sequence():
    """Three sequences: each token 1 / (3 * its length), so that every sequence weighs 1/3 (DeepSeekMath)."""
    got = compute([True] * 3, "sequence")
    assert got.tolist() == pytest.approx([1 / 6, 1 / 12, 1 / 30])
    assert (got * LENGTHS).sum().item() == pytest.approx(1)


def test_token():
    """Sixteen tokens: 1/16 each, whatever sequence they are in (DAPO)."""
    assert compute([True] * 3, "token").tolist() == pytest.approx([1 / 16] * 3)


def test_constant():
    """Three sequences and a budget of 20: 1/60 each, the weights sum to 16/60 (Dr. GRPO)."""
    got = compute([True] * 3, "constant", 20)
    assert got.tolist() == pytest.approx([1 / 60] * 3)
    assert (got * LENGTHS).sum().item() == pytest.approx(16 / 60)


@pytest.mark.parametrize("normalize", ["sequence", "token", "constant"])
def test_a_mask_equals_removal(normalize):
    """A masked sequence weighs nothing and leaves the denominators: the others are as if it were not there."""
    got = compute([True, False, True], normalize, 20)
    without = token_weights(LENGTHS[[0, 2]], torch.tensor([True, True]), normalize=normalize, constant=20)
    assert got[1] == 0 and got[[0, 2]].tolist() == without.tolist()


@pytest.mark.parametrize("normalize", ["sequence", "token", "constant"])
def test_nothing_kept_is_zeros(normalize):
    """No division by zero when every answer was truncated; an empty sequence weighs nothing either."""
    assert compute([False] * 3, normalize, 20).tolist() == [0.0] * 3
    empty = token_weights(torch.tensor([0.0, 5.0]), torch.tensor([True, True]), normalize=normalize, constant=5)
    assert empty.tolist() == pytest.approx([0, 0.2])


def test_refusals():
    """ "constant" without a budget and unknown words are refused."""
    with pytest.raises(ValueError, match="constant above 0"):
        compute([True] * 3, "constant")
    with pytest.raises(ValueError, match="normalize 'mean'"):
        compute([True] * 3, "mean")
