"""The hand-written pieces of the decoder: the plain formula's values and gradients, to the bit."""

import pytest
import torch
import torch.nn.functional as F

from r1cli.backend import kernels

ROWS, WIDTH = 37, 24


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


COS, SIN = numbers(ROWS, 1, 8), numbers(ROWS + 1, 1, 8)[1:]
CASES = {
    "norm": (
        lambda x, w: F.rms_norm(x, x.shape[-1:], None, 1e-6) * w,
        lambda x, w: kernels.Norm.apply(x, w, 1e-6),
        (numbers(ROWS, WIDTH), numbers(WIDTH)),
    ),
    "norm of heads": (
        lambda x, w: F.rms_norm(x, x.shape[-1:], None, 1e-6) * w,
        lambda x, w: kernels.Norm.apply(x, w, 1e-6),
        (numbers(ROWS, 3, 8), numbers(8)),
    ),
    "rotation": (
        lambda x: x * COS + x.roll(4, -1) * SIN,
        lambda x: kernels.Rotation.apply(x, COS, SIN),
        (numbers(ROWS, 3, 8),),
    ),
    "gated": (
        lambda a, b: F.silu(a) * b,
        kernels.Gated.apply,
        (numbers(ROWS, WIDTH), numbers(ROWS, WIDTH + 1)[:, :WIDTH]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_those_of_the_formula_to_the_bit(name):
    """Protects the byte-for-byte recipe of the tiny base, which was made with the plain formulas."""
    plain, ours, inputs = CASES[name]
    results = []
    for compute in (plain, ours):
        leaves = [x.clone().requires_grad_() for x in inputs]
        out = compute(*leaves)
        out.backward(numbers(*out.shape).roll(1, 0))
        results.append([out, *(leaf.grad for leaf in leaves)])
    for expected, found in zip(*results, strict=True):
        assert torch.equal(found, expected)


def test_norm_of_a_frozen_weight_gives_only_the_gradient_of_its_input():
    x, weight = numbers(ROWS, WIDTH).requires_grad_(), numbers(WIDTH)
    kernels.Norm.apply(x, weight, 1e-6).sum().backward()
    assert x.grad is not None and weight.grad is None


def test_lookup_adds_to_the_gradient_that_is_there():
    """Protects tokens that occur twice, and the sum over micro-batches."""
    table, tokens = numbers(5, 3).requires_grad_(), torch.tensor([4, 0, 4])
    grad = numbers(3, 3).roll(1, 0)
    F.embedding(tokens, table).backward(grad)
    expected, table.grad = 2 * table.grad, None
    for _ in range(2):
        kernels.Lookup.apply(tokens, table).backward(grad)
    assert torch.allclose(table.grad, expected)
