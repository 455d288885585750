"""The sampler's active rows as tensors: where each one stands, what it asked for and what it has produced.

All rows advance together, one token a tick of a common clock, so a row stores when it began instead of a counter of
its own. Row i here is slot i of the cache; rows 0 .. count - 1 are active. It does not run the model or decide who
enters (sampler_torch.py).
"""

import numpy as np
import torch
from torch import Tensor

from r1cli.backend.randomness import mix, signed

OFFSET, START, DEADLINE, KEY, TOKEN = range(5)
WIDTH_STEP = 64


class Rows:
    """State of up to `slots` rows: int64 [slots, 5], temperature and top_p [slots, 2], and outputs [slots, width]."""

    def __init__(self, device: torch.device):
        self.device = device
        self.count = 0
        self.numbers = torch.zeros(0, 5, dtype=torch.int64, device=device)
        self.knobs = torch.zeros(0, 2, dtype=torch.float64, device=device)
        self.ids = torch.zeros(0, 0, dtype=torch.int64, device=device)
        self.logprobs = torch.zeros(0, 0, dtype=torch.float32, device=device)

    def reserve(self, slots: int, width: int) -> None:
        """Makes room for `slots` rows with outputs of `width` tokens."""
        old_slots, old_width = self.ids.shape
        if slots <= old_slots and width <= old_width:
            return
        slots = max(slots, 2 * old_slots) if slots > old_slots else old_slots
        if width > old_width:
            width = -(-max(width, old_width + old_width // 2) // WIDTH_STEP) * WIDTH_STEP
        for name in ("numbers", "knobs", "ids", "logprobs"):
            old = getattr(self, name)
            new = old.new_zeros(slots, max(width, old_width) if name in ("ids", "logprobs") else old.shape[1])
            new[:old_slots, : old.shape[1]] = old
            setattr(self, name, new)

    def append(
        self, *, prompt_length: int, clock: int, limit: int, keys: list[int], temperature: float, top_p: float
    ) -> None:
        """Adds a row a key: its first token falls on tick `clock`, its last on `clock + limit - 1` at the latest."""
        first, self.count = self.count, self.count + len(keys)
        self.reserve(self.count, 1)
        new = torch.tensor([[prompt_length - clock - 1, clock, clock + limit - 1, signed(key), 0] for key in keys])
        # Related keys (1, 2, 3, ...) must not give shifted copies of one stream: what is counted on is their mixture.
        new[:, KEY] = mix(new[:, KEY])
        self.numbers[first : self.count] = new.to(self.device)
        self.knobs[first : self.count] = torch.tensor([temperature, top_p], dtype=torch.float64).to(self.device)

    def column(self, name: int) -> Tensor:
        """One number of every active row, int64 [count]."""
        return self.numbers[: self.count, name]

    def record(self, clock: int, tokens: Tensor, logprobs: Tensor) -> None:
        """Stores the tick's tokens and log-probabilities, both [count]."""
        self.numbers[: self.count, TOKEN] = tokens
        places = (clock - self.column(START))[:, None]
        self.ids[: self.count].scatter_(1, places, tokens[:, None])
        self.logprobs[: self.count].scatter_(1, places, logprobs[:, None])

    def outputs(self, rows: list[int], width: int) -> tuple[np.ndarray, np.ndarray]:
        """The first `width` ids (int64) and log-probabilities (float32) of some rows, on the host."""
        index = torch.tensor(rows, device=self.device)
        return self.ids[index, :width].cpu().numpy(), self.logprobs[index, :width].cpu().numpy()

    def tails(self, rows: list[int], clock: int, width: int) -> list[list[int]]:
        """The last ids, at most `width`, of some rows."""
        index = torch.tensor(rows, device=self.device)
        ends = clock - self.numbers[index, START]
        places = (ends[:, None] + torch.arange(1 - width, 1, device=self.device)).clamp_(min=0)
        tails = self.ids[index].gather(1, places).tolist()
        return [tail[-(end + 1) :] for tail, end in zip(tails, ends.tolist(), strict=True)]

    def move(self, sources: Tensor, targets: Tensor) -> None:
        """Copies rows `sources` over rows `targets` (int64 index tensors)."""
        for state in (self.numbers, self.knobs, self.ids, self.logprobs):
            state[targets] = state[sources]
