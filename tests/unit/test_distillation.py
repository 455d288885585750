"""The losses of distillation, by hand and against the exact KL over a small vocabulary."""

import math

import pytest
import torch

from r1cli.algorithms.distillation import reverse_kl, top_kl

P = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
Q = torch.tensor([0.25, 0.25, 0.4, 0.1]).log()


def kl(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one.exp() * (one - other)).sum(-1)


def logits(*shape: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(*shape, generator=draw, dtype=torch.float64)).requires_grad_()


def test_top_kl_by_hand():
    """Two tokens and a bucket: .5 ln 2 + .25 ln 1 + .25 ln (.25 / .5); all four: two further terms of their own."""
    half = math.log(2)
    assert top_kl(Q[:2], P[:2]).item() == pytest.approx(0.5 * half - 0.25 * half)
    whole = 0.5 * half + 0.125 * math.log(0.125 / 0.4) + 0.125 * math.log(0.125 / 0.1)
    assert top_kl(Q, P).item() == pytest.approx(whole, abs=1e-6)
    assert kl(P, Q).item() == pytest.approx(whole, abs=1e-6)
    # The likeliest alone: a token against all others.
    one = 0.5 * half + 0.5 * math.log(0.5 / 0.75)
    assert top_kl(Q[:1], P[:1]).item() == pytest.approx(one)


def test_top_kl_rises_to_the_exact_one():
    """More tokens tell more; with the whole vocabulary value and gradient are those of the KL."""
    student, teacher = logits(50, 12, seed=1), logits(50, 12, seed=2).detach().log_softmax(-1)
    exact = kl(teacher, student.log_softmax(-1))
    (expected,) = torch.autograd.grad(exact.sum(), student)
    assert torch.allclose(expected, student.softmax(-1) - teacher.exp())
    before = torch.zeros(50, dtype=torch.float64)
    for count in (1, 2, 3, 6, 11, 12):
        best = teacher.topk(count)
        found = top_kl(student.log_softmax(-1).gather(-1, best.indices), best.values)
        assert (found >= before - 1e-12).all() and (found <= exact + 1e-12).all()
        before = found.detach()
    assert torch.allclose(found, exact)
    assert torch.allclose(torch.autograd.grad(found.sum(), student)[0], expected)


def test_top_kl_is_finite_where_a_bucket_is_empty():
    """A teacher that is sure, a student that leaves nothing for the bucket, and both: no infinity, no NaN, in fp32."""
    sure = torch.tensor([[0.0, -30.0], [-0.6931472, -0.6931472], [-0.7, -0.8]])
    student = torch.tensor([[0.0, -40.0], [-0.6931472, -0.6931472], [-1e-9, -22.0]], requires_grad=True)
    found = top_kl(student, sure)
    assert found.isfinite().all()
    assert torch.autograd.grad(found.sum(), student)[0].isfinite().all()


def test_reverse_kl_by_hand():
    """Value and slope are log p - log q of the token; the teacher gets no gradient."""
    logp, teacher = torch.tensor([0.25, 0.5]).log().requires_grad_(), torch.tensor([0.5, 0.125]).log()
    found = reverse_kl(logp, teacher)
    assert found.tolist() == pytest.approx([-math.log(2), math.log(4)])
    assert torch.autograd.grad(found.sum(), logp)[0].tolist() == pytest.approx([-math.log(2), math.log(4)])


def test_reverse_kl_is_unbiased():
    """Averaged over what the student samples, each token by its probability: the KL and the KL's gradient, exactly."""
    student, teacher = logits(9, seed=3), logits(9, seed=4).detach().log_softmax(-1)
    logp = student.log_softmax(-1)
    exact = kl(logp, teacher)
    average = (logp.exp().detach() * reverse_kl(logp, teacher)).sum()
    assert average.item() == pytest.approx(exact.item())
    expected, found = (torch.autograd.grad(loss, student, retain_graph=True)[0] for loss in (exact, average))
    assert torch.allclose(found, expected)
