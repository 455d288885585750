"""Micro-batches: what goes together, what is computed once, and that attention sees exactly what it should."""

import random

import numpy as np
import pytest
import torch

from r1cli.backend import packing
from r1cli.backend.packing import buckets, pack, plan


def make(seed: int, groups: int = 5, size: int = 4, longest: int = 30):
    draw = random.Random(seed)
    prompts, completions, names = [], [], []
    for group in range(groups):
        prompt = [draw.randrange(50) for _ in range(draw.randint(1, 12))]
        for _ in range(size):
            prompts.append(prompt)
            completions.append([draw.randrange(50) for _ in range(draw.randint(1, longest))])
            names.append(f"g{group}")
    return prompts, completions, names


@pytest.mark.parametrize("budget", [1, 40, 100, 10**6])
def test_plan_takes_every_sequence_once_within_the_budget(budget):
    prompts, completions, names = make(1)
    batches = plan(prompts, completions, names, budget)
    assert sorted(row for rows in batches for row in rows) == list(range(len(prompts)))
    for rows in batches:
        tokens = sum(len(completions[row]) for row in rows)
        tokens += sum(len(prompts[row]) for row in {names[row]: row for row in rows}.values())
        assert tokens <= budget or len(rows) == 1


def test_plan_keeps_a_group_together_when_it_fits():
    prompts, completions, names = make(2, longest=8)
    batches = plan(prompts, completions, names, 60)
    assert len(batches) > 1
    for name in set(names):
        assert sum(any(names[row] == name for row in rows) for rows in batches) == 1


def test_plan_leaves_out_empty_completions():
    assert plan([[1], [1]], [[], [2]], [0, 0], 100) == [[1]]


def test_prompt_is_an_input_once_per_group_and_last_tokens_never():
    prompts, completions, names = make(3)
    batch = pack(prompts, completions, names, list(range(len(prompts))))
    expected = sum(len(prompts[row]) for row in range(0, len(prompts), 4)) + sum(len(c) - 1 for c in completions)
    assert len(batch.tokens) == len(batch.positions) == expected
    assert batch.targets.tolist() == [token for completion in completions for token in completion]


def dense_attention(q, k, v):
    """One sequence, straight from the definition: q, k, v [L, H, D], causal."""
    scores = torch.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5
    scores.masked_fill_(torch.ones(len(q), len(q)).triu(1).bool(), -torch.inf)
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)


@pytest.mark.parametrize("causal_from", [1, 8, 10**6], ids=["causal", "both", "masked"])
@pytest.mark.parametrize("seed", range(4))
def test_attention_equals_one_sequence_at_a_time(monkeypatch, seed, causal_from):
    """Protects every index tensor: a wrong one mixes sequences, shifts a token or reads padding."""
    monkeypatch.setattr(packing, "CAUSAL_FROM", causal_from)
    monkeypatch.setattr(packing, "SMALLEST_BLOCK", 40)
    prompts, completions, names = make(seed)
    chosen = random.Random(seed).sample(range(len(prompts)), 13)
    batch = pack(prompts, completions, names, chosen)
    generator = torch.Generator().manual_seed(seed)
    # q, k and v are functions of (token, position), so that a sequence's own can be looked up without the packing.
    table = torch.randn(3, 50, 60, 4, 8, generator=generator)
    q, k, v = (part[batch.tokens, batch.positions] for part in table)
    k, v = k[:, :2], v[:, :2]
    mixed = batch.attend(0, q, k, v)[batch.predictors].split(batch.lengths)
    for row, found in zip(batch.sequences, mixed, strict=True):
        ids = torch.tensor(prompts[row] + completions[row])
        alone = [part[ids, torch.arange(len(ids))] for part in table]
        alone[1:] = [part[:, :2].repeat_interleave(2, 1) for part in alone[1:]]
        expected = dense_attention(*alone)[len(prompts[row]) - 1 : -1]
        assert torch.allclose(found, expected, atol=1e-5)


def test_blocks_hold_rows_of_similar_length():
    """Protects against padding ten short answers to one long one."""
    sizes = np.array([4000, 100, 110, 3900, 90, 0, 105])
    found = buckets(sizes, np.full(7, 20))
    assert [rows.tolist() for rows in found] == [[0, 3], [2, 6, 1, 4]]


def test_small_batches_stay_in_one_block():
    """Protects tiny models from paying for many small calls."""
    assert len(buckets(np.array([30, 10, 2]), np.zeros(3, int))) == 1


def test_blocks_without_padding_may_still_hold_the_tokens_in_another_order(monkeypatch):
    """Protects the short cut around index tensors: the same number of rows is not the same order."""
    monkeypatch.setattr(packing, "SMALLEST_BLOCK", 0)
    batch = pack([[1, 2], [1, 2]], [[3] * 4, [5] * 10], [0, 0], [0, 1])
    values = torch.arange(float(len(batch.tokens)))[:, None, None].expand(-1, 1, 8)
    # With equal scores an output is the mean of the values that it sees: its own, those before it, its prompt's.
    mixed = batch.attend(0, torch.zeros_like(values), torch.zeros_like(values), values)[:, 0, 0]
    assert len(batch.tokens) == 14 and mixed[:3].tolist() == pytest.approx([0, 0.5, (0 + 1 + 2) / 3])
    assert mixed[4].item() == pytest.approx((0 + 1 + 2 + 3 + 4) / 5)
    assert mixed[5:7].tolist() == pytest.approx([(0 + 1 + 5) / 3, (0 + 1 + 5 + 6) / 4])
