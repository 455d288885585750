"""How a batch's micro-batches are spread over ranks that compute in step.

Every rank works the plan out for itself from the same batch, so nothing is sent. What is in a micro-batch is
packing.py's business.
"""

from collections.abc import Hashable, Sequence

from r1cli.backend.packing import plan


def shares(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    groups: Sequence[Hashable],
    budget: int,
    ranks: int,
) -> list[list[list[int]]]:
    """One list of micro-batches (lists of sequence numbers) per rank, all of one length, empty ones at the end.

    At most `budget` tokens each, fewer where that keeps more ranks busy: a group of several sequences is split, and
    its prompt computed twice, rather than leave a rank idle. What is computed at the same time is of similar size,
    since ranks wait for each other in every layer (ZeRO-3) or bucket of gradients (ZeRO-2); where they don't, the
    larger half goes to who has had less so far.
    """
    batches = plan(prompts, completions, groups, budget)
    rounds = -(-len(batches) // ranks)
    # The plan fills one micro-batch after the other: the smallest budget that needs no further round evens them out.
    even = sum(cost(rows, prompts, completions, groups) for rows in batches) // max(1, rounds * ranks)
    while ranks > 1 and even < budget:
        finer = plan(prompts, completions, groups, even)
        if len(finer) <= rounds * ranks:
            batches = finer
            break
        even += 1 + even // 16
    costs = {id(rows): cost(rows, prompts, completions, groups) for rows in batches}
    batches.sort(key=lambda rows: -costs[id(rows)])
    dealt: list[list[list[int]]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    for start in range(0, len(batches), ranks):
        order = sorted(range(ranks), key=loads.__getitem__)
        for place, rank in enumerate(order):
            rows = batches[start + place] if start + place < len(batches) else []
            dealt[rank].append(rows)
            loads[rank] += costs[id(rows)] if rows else 0
    return dealt


def cost(
    rows: Sequence[int],
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    groups: Sequence[Hashable],
) -> int:
    """Tokens that a micro-batch computes: the prompt of each group once, and every completion."""
    heads = {groups[row]: len(prompts[row]) for row in rows}
    return sum(heads.values()) + sum(len(completions[row]) for row in rows)
