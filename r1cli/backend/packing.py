"""Flat, padding-free micro-batches in which a group's prompt is computed once.

`plan` chooses which sequences go together under a token budget; `pack` lays them out as one flat list of tokens and
precomputes the index tensors with which attention, and nothing else, sees padded blocks. It computes no loss and knows
no model.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# From this many completion tokens a plain causal kernel over prompt + completion beats a masked one (measured on CPU),
# and a mask of this many elements costs more memory than the repeated prompt queries of the causal layout.
CAUSAL_FROM = 256
LARGEST_MASK = 2**24
# Rows shorter than this share of a block's longest open a block of their own, once the block has this many padded
# tokens.
SHORTER = 0.75
SMALLEST_BLOCK = 2048


def plan(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], groups: Sequence[Hashable], budget: int
) -> list[list[int]]:
    """Splits sequences into micro-batches (lists of indices) of at most `budget` tokens, a prompt counted once per
    group.

    The sequences of a group stay together unless the group alone exceeds the budget; then its prompt is repeated. A
    single sequence over the budget gets a micro-batch of its own. Each sequence is also charged a quarter of its
    prompt, because attention keeps a copy of the prompt's keys and values per sequence. Sequences without completion
    tokens are left out.
    """
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        if completions[row]:
            members.setdefault(group, []).append(row)
    pieces: list[tuple[int, list[int]]] = []
    for rows in members.values():
        prompt = len(prompts[rows[0]])
        cost, piece = prompt, []
        for row in sorted(rows, key=lambda row: -len(completions[row])):
            extra = len(completions[row]) + prompt // 4
            if piece and cost + extra > budget:
                pieces.append((cost, piece))
                cost, piece = prompt, []
            piece.append(row)
            cost += extra
        pieces.append((cost, piece))
    # First fit, largest first: few micro-batches, and the same ones whatever the order of the groups' arrival in a
    # dict.
    pieces.sort(key=lambda piece: (-piece[0], piece[1][0]))
    batches: list[list[int]] = []
    room: list[int] = []
    for cost, rows in pieces:
        slot = next((slot for slot, left in enumerate(room) if left >= cost), None)
        if slot is None:
            batches.append(list(rows))
            room.append(budget - cost)
        else:
            batches[slot].extend(rows)
            room[slot] -= cost
    return batches


@dataclass(slots=True)
class Block:
    """Rows that attention computes in one call: queries [rows, queries], keys [rows, keys], causal when there is no
    mask [rows or 1, 1, queries, keys] (bool; on a CPU what is added to the scores).
    """

    rows: int
    queries: int
    keys: int
    mask: Tensor | None


@dataclass(slots=True)
class MicroBatch:
    """A flat micro-batch of N input tokens and M predicted (completion) tokens.

    tokens, positions [N]; predictors [M]: the flat token whose hidden state predicts each completion token;
    targets [M]; rows [M]: the local sequence of each; sequences: the caller's index of each local sequence; lengths:
    its completion tokens; the index tensors (None: as they are) and blocks are for `attend`.
    """

    tokens: Tensor
    positions: Tensor
    predictors: Tensor
    targets: Tensor
    rows: Tensor
    sequences: list[int]
    lengths: list[int]
    blocks: list[Block]
    query_index: Tensor | None
    key_index: Tensor
    output_index: Tensor | None

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Mixes values [N, Hkv, D] for queries [N, Hq, D]: every completion sees its prompt and itself, nothing
        else.
        """
        heads, shared, size = q.shape[1], k.shape[1], q.shape[2]
        # Under autocast the rotation returns fp32: gather the narrow copy.
        queries = take(q.to(v.dtype).flatten(1), self.query_index)
        # Keys and values in one gather: its backward adds the gradients of a shared prompt row by row, and long rows
        # are cheap.
        both = take(torch.cat((k.to(v.dtype), v), 1).flatten(1), self.key_index)
        queries = queries.split([block.rows * block.queries for block in self.blocks])
        both = both.split([block.rows * block.keys for block in self.blocks])
        mixed = []
        for block, query, pair in zip(self.blocks, queries, both, strict=True):
            query = query.view(block.rows, block.queries, heads, size).transpose(1, 2)
            key, value = pair.view(block.rows, block.keys, 2, shared, size).permute(2, 0, 3, 1, 4)
            grouped = shared != heads
            if grouped and q.device.type != "cpu":
                # The masked CUDA kernels know no grouped heads.
                key = key.repeat_interleave(heads // shared, 1)
                value = value.repeat_interleave(heads // shared, 1)
                grouped = False
            out = F.scaled_dot_product_attention(
                query, key, value, attn_mask=block.mask, is_causal=block.mask is None, enable_gqa=grouped
            )
            mixed.append(out.transpose(1, 2).reshape(block.rows * block.queries, heads * size))
        return take(torch.cat(mixed), self.output_index).unflatten(-1, (heads, size))


def take(x: Tensor, index: Tensor | None) -> Tensor:
    """Rows of x [S, C] at index [M] -> [M, C], x itself for None; unlike index_select its backward is vectorised on
    CPU (four times faster).
    """
    if index is None:
        return x
    return torch.gather(x, 0, index[:, None].expand(-1, x.shape[1]))


def pack(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    groups: Sequence[Hashable],
    sequences: list[int],
    device: torch.device | str = "cpu",
) -> MicroBatch:
    """Lays out the chosen sequences; the last token of a completion predicts nothing and is not an input.

    Prompts must not be empty, completions must have a token, and prompts within a group must be identical.
    """
    index_of: dict[Hashable, int] = {}
    group = np.array([index_of.setdefault(groups[row], len(index_of)) for row in sequences])
    first = {groups[row]: row for row in reversed(sequences)}
    heads = [prompts[first[key]] for key in index_of]
    bodies = [completions[row] for row in sequences]
    prompt_sizes = np.array([len(ids) for ids in heads])
    lengths = np.array([len(ids) for ids in bodies])
    own = lengths - 1
    prompt_at = offsets(prompt_sizes)
    own_at = prompt_sizes.sum() + offsets(own)
    prompt_of, at_of = prompt_sizes[group], prompt_at[group]

    targets = np.fromiter(chain.from_iterable(bodies), np.int64, int(lengths.sum()))
    starts = offsets(lengths)
    inside = np.ones(len(targets), bool)
    inside[starts + own] = False
    tokens = np.concatenate(
        (np.fromiter(chain.from_iterable(heads), np.int64, int(prompt_sizes.sum())), targets[inside])
    )
    positions = np.concatenate((ramp(prompt_sizes), ramp(own) + np.repeat(prompt_of, own)))
    predictors = np.repeat(own_at - 1, lengths) + ramp(lengths)
    predictors[starts] = at_of + prompt_of - 1

    layout = Layout(len(tokens))
    for rows in buckets(prompt_sizes, np.zeros_like(prompt_sizes)):
        layout.causal(prompt_at[rows], prompt_sizes[rows], prompt_at[rows], np.zeros_like(rows))
    for rows in buckets(own, prompt_of):
        longest, prompt = int(own[rows].max()), int(prompt_of[rows].max())
        wide = longest >= prompt or longest * (longest + prompt) > LARGEST_MASK
        place = layout.causal if longest >= CAUSAL_FROM and wide else layout.masked
        place(at_of[rows], prompt_of[rows], own_at[rows], own[rows])

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device)

    for block in layout.blocks:
        if block.mask is not None and torch.device(device).type == "cpu":
            # The CPU kernels add a mask: made here, it is not made again in every layer.
            block.mask = torch.zeros(block.mask.shape).masked_fill_(~block.mask, -torch.inf)
        block.mask = None if block.mask is None else block.mask.to(device)
    queries = np.concatenate(layout.queries)
    return MicroBatch(
        tokens=tensor(tokens),
        positions=tensor(positions),
        predictors=tensor(predictors),
        targets=tensor(targets),
        rows=tensor(np.repeat(np.arange(len(sequences)), lengths)),
        sequences=list(sequences),
        lengths=lengths.tolist(),
        blocks=layout.blocks,
        query_index=None if in_place(queries, len(tokens)) else tensor(queries),
        key_index=tensor(np.concatenate(layout.keys)),
        output_index=None if in_place(layout.output, layout.size) else tensor(layout.output),
    )


class Layout:
    """Collects attention blocks and where each flat token's output lies among them."""

    def __init__(self, tokens: int):
        self.blocks: list[Block] = []
        self.queries: list[np.ndarray] = []
        self.keys: list[np.ndarray] = []
        self.output = np.zeros(tokens, np.int64)
        self.size = 0

    def causal(self, prompt_at: np.ndarray, prompt: np.ndarray, own_at: np.ndarray, own: np.ndarray) -> None:
        """Rows of prompt then own tokens without a gap, padded on the right, where no query that counts can see."""
        column = np.arange(int((prompt + own).max()))[None]
        inside = column < prompt[:, None]
        used = column < (prompt + own)[:, None]
        index = np.where(inside, prompt_at[:, None] + column, (own_at - prompt)[:, None] + column)
        index = np.where(used, index, 0)
        # Prompt-only rows deliver the prompt's outputs; beside a completion the prompt's queries are repeated and not
        # read.
        self.place(index, index, used & ~inside if own.any() else used, None)

    def masked(self, prompt_at: np.ndarray, prompt: np.ndarray, own_at: np.ndarray, own: np.ndarray) -> None:
        """Rows of own tokens as queries, their prompt (padded) then themselves (padded) as keys, under one boolean
        mask.
        """
        before, column = np.arange(int(prompt.max()))[None], np.arange(int(own.max()))[None]
        used = column < own[:, None]
        index = np.where(used, own_at[:, None] + column, 0)
        seen = before < prompt[:, None]
        keys = np.concatenate((np.where(seen, prompt_at[:, None] + before, 0), index), 1)
        queries = index.shape[1]
        # Rows that differ in no prompt share one mask.
        seen = seen[:1] if seen.all() else seen
        mask = torch.empty(len(seen), 1, queries, keys.shape[1], dtype=torch.bool)
        mask[..., : seen.shape[1]] = torch.from_numpy(seen)[:, None, None]
        # A padded query still sees its prompt: a row without any key would be 0/0.
        mask[..., seen.shape[1] :] = torch.ones(queries, queries, dtype=torch.bool).tril_()
        self.place(index, keys, used, mask)

    def place(self, queries: np.ndarray, keys: np.ndarray, delivered: np.ndarray, mask: Tensor | None) -> None:
        """Adds a block; `delivered` [rows, queries] says which of its outputs are the ones of their tokens."""
        flat = delivered.ravel()
        self.output[queries.ravel()[flat]] = self.size + np.flatnonzero(flat)
        self.queries.append(queries.ravel())
        self.keys.append(keys.ravel())
        self.blocks.append(Block(len(queries), queries.shape[1], keys.shape[1], mask))
        self.size += queries.size


def buckets(sizes: np.ndarray, beside: np.ndarray) -> list[np.ndarray]:
    """Row numbers in blocks of similar size, longest first, empty rows left out; `beside` is what each row carries
    besides.
    """
    order = np.argsort(-sizes, kind="stable")
    order = order[: int((sizes > 0).sum())]
    found, start, longest, widest = [], 0, 0, 0
    for place, row in enumerate(order):
        if place == start:
            longest, widest = int(sizes[row]), 0
        padded = (place - start) * (longest + widest)
        if padded >= SMALLEST_BLOCK and sizes[row] < SHORTER * longest:
            found.append(order[start:place])
            start, longest, widest = place, int(sizes[row]), 0
        widest = max(widest, int(beside[row]))
    if start < len(order):
        found.append(order[start:])
    return found


def in_place(index: np.ndarray, size: int) -> bool:
    """Whether taking rows by the index would only copy all `size` of them."""
    return len(index) == size and bool((index == np.arange(size)).all())


def offsets(sizes: np.ndarray) -> np.ndarray:
    """Where each of consecutive runs of the given sizes begins."""
    return np.cumsum(sizes) - sizes


def ramp(sizes: np.ndarray) -> np.ndarray:
    """0, 1, ... size-1 for every run, end to end."""
    return np.arange(int(sizes.sum())) - np.repeat(offsets(sizes), sizes)
