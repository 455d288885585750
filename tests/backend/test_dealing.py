"""How micro-batches are spread over ranks: nothing lost, equally many each, even work."""

import random

import pytest

from r1cli.backend.dealing import cost, shares
from r1cli.backend.packing import plan


def ragged(groups: int, size: int, longest: int, seed: int = 0):
    """Prompts, completions and groups of a batch of random lengths."""
    draw = random.Random(seed)
    prompts, completions, names = [], [], []
    for group in range(groups):
        prompt = [1] * draw.randint(1, 20)
        for _ in range(size):
            prompts.append(prompt)
            completions.append([2] * draw.randint(1, longest))
            names.append(group)
    return prompts, completions, names


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("groups", [1, 5, 40])
def test_every_sequence_once_and_as_many_batches_on_every_rank(ranks, groups):
    """A rank with one micro-batch more would wait for ever in what the ranks do together."""
    batch = ragged(groups, 4, 60)
    dealt = shares(*batch, 150, ranks)
    assert len(dealt) == ranks and len({len(rank) for rank in dealt}) == 1
    assert sorted(row for rank in dealt for rows in rank for row in rows) == list(range(4 * groups))
    # The plan alone decides how many rounds there are; empty shares come last, where a round has too few.
    assert len(dealt[0]) == -(-len(plan(*batch, 150)) // ranks)
    assert all(rows for rank in dealt for rows in rank[:-1])


def test_one_rank_gets_the_plan():
    """Nothing is split on behalf of ranks that are not there."""
    batch = ragged(7, 4, 60)
    assert sorted(map(sorted, shares(*batch, 150, 1)[0])) == sorted(map(sorted, plan(*batch, 150)))


def test_a_round_is_of_equal_size_and_no_rank_has_much_more():
    """In a round all wait for the largest; over all rounds the ranks even out."""
    batch = ragged(60, 4, 200)
    dealt = shares(*batch, 400, 4)
    costs = [[cost(rows, *batch) for rows in rank] for rank in dealt]
    total = sum(map(sum, costs))
    waited = sum(max(costs[rank][place] for rank in range(4)) for place in range(len(costs[0])))
    assert waited * 4 < 1.1 * total
    assert max(map(sum, costs)) < 1.05 * total / 4


def test_a_batch_that_fits_one_rank_is_split_for_two():
    """Two groups under one budget: half for each rank, rather than all for one and nothing for the other."""
    prompts, completions, groups = [[1] * 4] * 4, [[2] * 6] * 4, [0, 0, 1, 1]
    assert len(plan(prompts, completions, groups, 1000)) == 1
    dealt = shares(prompts, completions, groups, 1000, 2)
    assert sorted(sorted(rank[0]) for rank in dealt) == [[0, 1], [2, 3]]


def test_tokens_count_a_shared_prompt_once():
    """By hand: prompts of 3 and 2, completions of 4, 5 and 6."""
    assert cost([0, 1, 2], [[1] * 3, [1] * 3, [1] * 2], [[2] * 4, [2] * 5, [2] * 6], [0, 0, 1]) == 3 + 2 + 4 + 5 + 6
