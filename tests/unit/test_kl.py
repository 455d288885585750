"""KL estimators: values by hand, and their expected gradients by summing over a whole vocabulary."""

import math

import pytest
import torch

from r1cli.algorithms.kl import kl_penalty, unbias

ESTIMATORS = ("k1", "k2", "k3", "k3-straight-through")


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("estimator", "want"),
    [("k1", math.log(2)), ("k2", math.log(2) ** 2 / 2), ("k3", math.log(2) - 0.5), ("k3-straight-through", 0.193147)],
)
def test_values(estimator, want):
    """pi_theta twice pi_ref: d = ln 2, exp(-d) = 1/2, so k3 = .5 + ln 2 - 1."""
    assert kl_penalty(double(math.log(0.5)), double(math.log(0.25)), estimator).item() == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_zero_at_the_reference(estimator):
    """Exactly 0 where both agree, with exactly no gradient but k1's, whose gradient is 1 everywhere."""
    logp = double(-3.0, -0.1).requires_grad_()
    penalty = kl_penalty(logp, logp.detach(), estimator)
    penalty.sum().backward()
    assert penalty.tolist() == [0.0, 0.0]
    assert logp.grad.tolist() == [1.0 if estimator == "k1" else 0.0] * 2


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_clamp(estimator):
    """d of +-500 is held at +-20: finite in float32, with no gradient."""
    logp = torch.tensor([-500.0, -1.0], requires_grad=True)
    penalty = kl_penalty(logp, torch.tensor([0.0, -501.0]), estimator)
    penalty.sum().backward()
    low, high = {"k1": (-20.0, 20.0), "k2": (200.0, 200.0)}.get(estimator, (math.exp(20) - 21, math.exp(-20) + 19))
    assert penalty.tolist() == pytest.approx([low, high])
    assert logp.grad.tolist() == [0.0, 0.0]


def policies():
    generator = torch.Generator().manual_seed(1)
    theta, old, ref = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    return theta.requires_grad_(), old.log_softmax(0), ref.log_softmax(0)


def gradient(value, theta):
    return torch.autograd.grad(value, theta)[0]


def exact(theta, ref):
    """Gradients of KL(pi || ref) and of KL(ref || pi)."""
    logp = theta.log_softmax(0)
    forward, backward = (logp.exp() * (logp - ref)).sum(), (ref.exp() * (ref - logp)).sum()
    return torch.autograd.grad(forward, theta, retain_graph=True)[0], torch.autograd.grad(backward, theta)[0]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_expected_gradient_on_policy(estimator):
    """The expectation over samples of pi_theta: k1 none, k2 and straight-through the KL's, k3 the reverse KL's."""
    theta, _, ref = policies()
    right, reverse = exact(theta, ref)
    logp = theta.log_softmax(0)
    got = gradient((logp.exp().detach() * kl_penalty(logp, ref, estimator)).sum(), theta)
    want = {"k1": torch.zeros(6, dtype=torch.float64), "k3": reverse}.get(estimator, right)
    assert torch.allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_unbiased_gradient_off_policy(estimator):
    """With pi_theta / pi_old every estimator has the KL's gradient under samples of pi_old (DeepSeek-V3.2)."""
    theta, old, ref = policies()
    right, _ = exact(theta, ref)
    logp = theta.log_softmax(0)
    penalty = unbias(kl_penalty(logp, ref, estimator), (logp - old).exp(), estimator)
    assert torch.allclose(gradient((old.exp() * penalty).sum(), theta), right, atol=1e-12)


@pytest.mark.parametrize("estimator", ["k1", "k3", "k3-straight-through"])
def test_unbiased_value_off_policy(estimator):
    """And all but k2 have the KL's value."""
    theta, old, ref = policies()
    logp = theta.log_softmax(0)
    penalty = unbias(kl_penalty(logp, ref, estimator), (logp - old).exp(), estimator)
    want = (logp.exp() * (logp - ref)).sum()
    assert torch.allclose((old.exp() * penalty).sum(), want, atol=1e-12)


def test_unknown_estimator():
    """A typo is not silently k3."""
    with pytest.raises(ValueError, match="'k4'"):
        kl_penalty(double(0.0), double(0.0), "k4")
