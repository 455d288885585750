"""The learning rate by hand, at the places where schedules usually slip by one."""

import pytest

from r1cli.algorithms.schedule import learning_rate
from r1cli.algorithms.settings import GrpoSettings


def test_constant_is_the_papers():
    """DeepSeek-R1 trains at a constant 3e-6."""
    assert [learning_rate(step, GrpoSettings()) for step in (0, 1, 10_400)] == [3e-6] * 3


def test_warmup_never_starts_at_zero():
    """Three warm-up updates of lr 3: rates 1, 2, 3, then constant."""
    settings = GrpoSettings(lr=3.0, warmup_steps=3)
    assert [learning_rate(step, settings) for step in range(5)] == pytest.approx([1, 2, 3, 3, 3])


def test_linear():
    """Warm-up 2, 12 steps, floor .1: after warm-up it falls by .9 / 10 a step, to .1 at step 12 and ever after."""
    settings = GrpoSettings(lr=1.0, warmup_steps=2, decay="linear", total_steps=12)
    assert [learning_rate(step, settings) for step in range(4)] == pytest.approx([0.5, 1, 1, 0.91])
    assert [learning_rate(step, settings) for step in (11, 12, 500)] == pytest.approx([0.19, 0.1, 0.1])


def test_cosine():
    """From 1 to .2 over 4 steps: half-way is the mean .6, a quarter is .2 + .8 * (1 + cos 45 degrees) / 2 = .88284."""
    settings = GrpoSettings(lr=1.0, decay="cosine", total_steps=4, lr_min_ratio=0.2)
    rates = [learning_rate(step, settings) for step in range(6)]
    assert rates == pytest.approx([1, 0.88284271, 0.6, 0.31715729, 0.2, 0.2])


def test_refusals():
    """A negative step and a decay without an end are errors, not some rate."""
    with pytest.raises(ValueError, match="step is -1"):
        learning_rate(-1, GrpoSettings())
    with pytest.raises(ValueError, match="total_steps"):
        learning_rate(0, GrpoSettings(decay="linear"))
