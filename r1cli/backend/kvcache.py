"""The static key-value cache of the sampler, and attention over it: one prompt pass and one token a row.

Row i of the cache is slot i; active rows are always the first ones, so attention reads views and gathers nothing. The
cache starts small and grows, in slots and in length, to what the work needs. It knows nothing of tokens, queues or
ends (sampler_torch.py).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from r1cli.backend.model import Attend, ModelConfig
from r1cli.errors import R1Error

LENGTH_STEP = 64
KEYS, VALUES = range(2)

Prefix = list[tuple[Tensor, Tensor]]


class KVCache:
    """Keys [slots, kv heads, head_dim, length] and values [slots, kv heads, length, head_dim] of every layer.

    Keys lie transposed because the products with a few queries then take 60% of the time on a CPU.
    """

    def __init__(
        self, config: ModelConfig, *, dtype: torch.dtype, device: torch.device, max_slots: int, max_length: int
    ):
        self.config, self.dtype, self.device = config, dtype, device
        self.max_slots, self.max_length = max_slots, max_length
        self.slots, self.length = 0, 0
        self.keys, self.values = ([self._allocate(0, 0, kind) for _ in range(config.layers)] for kind in (KEYS, VALUES))
        self.steps = torch.arange(0, device=device)
        self.scale = 1 / math.sqrt(config.head_dim)

    def _allocate(self, slots: int, length: int, kind: int) -> Tensor:
        shape = [slots, self.config.kv_heads, length, self.config.head_dim]
        if kind == KEYS:
            shape[2:] = shape[:1:-1]
        # Zeros, not empty: a masked position has weight 0, but 0 times a stray NaN would still be NaN.
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    def reserve(self, slots: int, length: int) -> None:
        """Makes room for `slots` rows of `length` positions; raises R1Error when the device has no memory for it."""
        if slots <= self.slots and length <= self.length:
            return
        old_slots, old_length = self.slots, self.length
        if slots > old_slots:
            slots = min(self.max_slots, max(slots, 2 * old_slots))
        if length > old_length:
            # A quarter more than there was, so that a long sample copies its cache few times.
            length = max(length, old_length + old_length // 4)
            length = min(self.max_length, -(-length // LENGTH_STEP) * LENGTH_STEP)
        slots, length = max(slots, old_slots), max(length, old_length)
        try:
            # Layer by layer, so that old and new are never there twice as a whole.
            for index in range(self.config.layers):
                keys, values = self._allocate(slots, length, KEYS), self._allocate(slots, length, VALUES)
                keys[:old_slots, :, :, :old_length] = self.keys[index]
                values[:old_slots, :, :old_length] = self.values[index]
                self.keys[index], self.values[index] = keys, values
        except torch.cuda.OutOfMemoryError:
            position = 2 * self.config.layers * self.config.kv_heads * self.config.head_dim * self.dtype.itemsize
            raise R1Error(
                f"no device memory for the cache of {slots} samples of {length} tokens "
                f"({slots * length * position / 2**30:.1f} GiB); use fewer slots or a smaller --max-tokens"
            ) from None
        self.slots, self.length = slots, length
        self.steps = torch.arange(length, device=self.device)

    def move(self, sources: Tensor, targets: Tensor, length: int) -> None:
        """Copies the first `length` positions of rows `sources` to rows `targets` (two int64 index tensors)."""
        for keys, values in zip(self.keys, self.values, strict=True):
            keys[targets, :, :, :length] = keys[sources, :, :, :length]
            values[targets, :, :length] = values[sources, :, :length]

    def prefix(self, slot: int, length: int) -> Prefix:
        """A copy of one row's first `length` positions: keys and values of every layer."""
        return [
            (keys[slot, :, :, :length].clone(), values[slot, :, :length].clone())
            for keys, values in zip(self.keys, self.values, strict=True)
        ]

    def paste(self, prefix: Prefix, first: int, count: int) -> None:
        """Writes a prefix to the rows first .. first + count - 1, making room for them."""
        length, end = prefix[0][0].shape[-1], first + count
        self.reserve(end, length)
        for index, (keys, values) in enumerate(prefix):
            self.keys[index][first:end, :, :, :length] = keys
            self.values[index][first:end, :, :length] = values

    def decoding(self, positions: Tensor, length: int) -> Attend:
        """Attention of one new token a row: rows 0 .. B - 1 at `positions` [B], all less than `length`."""
        rows, heads, size = positions.shape[0], self.config.kv_heads, self.config.head_dim
        lanes = rows * heads
        slots = torch.arange(rows, device=self.device)
        # Where the new value of (row, head) goes in the cache seen as [slots * heads * length, head_dim].
        places = torch.arange(lanes, device=self.device).view(rows, heads) * self.length + positions[:, None]
        places = places.flatten()
        mask = torch.zeros(rows, length, dtype=self.dtype, device=self.device)
        mask.masked_fill_(self.steps[:length] > positions[:, None], -math.inf)
        mask = mask[:, None, None].expand(rows, heads, 1, length).reshape(lanes, 1, length)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self.keys[layer], self.values[layer]
            keys[slots, :, :, positions] = k
            values.view(-1, size).index_copy_(0, places, v.reshape(lanes, size))
            keys = keys.view(-1, size, self.length)[:lanes, :, :length]
            values = values.view(-1, self.length, size)[:lanes, :length]
            scores = torch.baddbmm(mask, q.reshape(lanes, -1, size), keys, alpha=self.scale)
            weights = torch.softmax(scores, -1, dtype=torch.float32).to(self.dtype)
            return torch.bmm(weights, values).view(rows, -1, size)

        return attend

    def filling(self, lengths: list[int], counts: list[int], first: int) -> Attend:
        """Attention of whole prompts, packed one after another, of these `lengths`.

        Prompt i is written to counts[i] rows of the cache, beginning with row `first`.
        """
        prompts, longest = len(lengths), max(lengths)
        ragged = min(lengths) != longest
        if ragged:
            inside = torch.arange(longest) < torch.tensor(lengths)[:, None]
            cells = inside.flatten().nonzero()[:, 0].to(self.device)
        owner = torch.arange(prompts).repeat_interleave(torch.tensor(counts)).to(self.device)
        end = first + sum(counts)

        def padded(x: Tensor) -> Tensor:
            if ragged:
                x = x.new_zeros(prompts * longest, *x.shape[1:]).index_copy_(0, cells, x)
            return x.view(prompts, longest, *x.shape[1:]).transpose(1, 2)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = padded(q), padded(k), padded(v)
            self.keys[layer][first:end, :, :, :longest] = k.transpose(2, 3)[owner]
            self.values[layer][first:end, :, :longest] = v[owner]
            # Padding is on the right, so the causal mask alone keeps every token from it.
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale, enable_gqa=True)
            mixed = mixed.transpose(1, 2).flatten(0, 1)
            return mixed[cells] if ragged else mixed

        return attend
