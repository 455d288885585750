"""A sampler over all ranks: whole groups to the rank with the least to do, and back as they finish.

It has the torch sampler's interface and runs on rank 0, which samples its own share. A sample's seed is a key of its
own (randomness.py), so it matters to no sample which rank draws it. Weights are each rank's own business (learner.py).
"""

import queue
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from r1cli.backend.samplers import Sampler
from r1cli.backend.sampling import Group, Sample

if TYPE_CHECKING:
    from r1cli.backend.ranks import Ranks

PAUSE_SECONDS = 0.02  # between two looks at other things, while this rank has nothing to sample itself


class Spread:
    """Samples on all ranks; `own` is this rank's sampler, `name` what the others call theirs, `slots` each one's."""

    def __init__(self, own: Sampler, ranks: "Ranks", name: str, slots: int):
        self.own, self.ranks, self.name, self.slots = own, ranks, name, slots
        self._waiting: deque[Group] = deque()
        self._away: dict[int, tuple[Group, int]] = {}  # by ticket: a group and the rank that has it
        self._load = [0] * ranks.world  # samples that each rank has
        self._tickets = 0

    @property
    def busy(self) -> bool:
        """Whether samples are queued or active anywhere."""
        return bool(self._waiting or self._away or self.own.busy)

    def add(self, group: Group) -> None:
        """Queues a group; raises InputError when it can't be sampled."""
        self.own.validate(group)
        self._waiting.append(group)

    def watch(self, lost: Callable[[], None]) -> None:
        """Calls `lost`, in a thread, when this rank's engine ends by itself; the other ranks watch theirs."""
        self.own.watch(lost)

    def check(self) -> None:
        """Raises R1Error when this rank's engine is gone."""
        self.own.check()

    def cancel(self, key: object) -> None:
        """Forgets the groups of that key, queued or active on any rank; no one gets their samples."""
        self._waiting = deque(group for group in self._waiting if group.key != key)
        for ticket in [ticket for ticket, (group, _) in self._away.items() if group.key == key]:
            group, rank = self._away.pop(ticket)
            if rank == 0:
                self.own.cancel(group.key)
            else:
                self.ranks.post("cancel", rank=rank, sampler=self.name, ticket=ticket)
            self._load[rank] -= len(group.seeds)

    def step(self) -> list[tuple[Group, list[Sample]]]:
        """Samples on; returns the groups that are whole, their samples in the order of their seeds."""
        self._hand_out()
        whole = self.own.step() if self.own.busy else []
        for group, _ in whole:
            self._forget(next(ticket for ticket, (mine, _) in self._away.items() if mine is group))
        whole += self._arrived(wait=bool(self._away) and not (whole or self.own.busy))
        return whole

    def _hand_out(self) -> None:
        """Gives out groups while a rank has free slots: one that ends early then gets what is left."""
        while self._waiting:
            rank = min(range(len(self._load)), key=self._load.__getitem__)
            if self._load[rank] >= self.slots:
                return
            group = self._waiting.popleft()
            self._tickets += 1
            self._away[self._tickets] = group, rank
            self._load[rank] += len(group.seeds)
            if rank == 0:
                self.own.add(group)
            else:
                self.ranks.post(
                    "add",
                    rank=rank,
                    sampler=self.name,
                    ticket=self._tickets,
                    prompt_ids=group.prompt_ids,
                    seeds=group.seeds,
                    params=group.params,
                )

    def _arrived(self, wait: bool) -> list[tuple[Group, list[Sample]]]:
        whole = []
        while True:
            try:
                message = self.ranks.whole[self.name].get(block=wait, timeout=PAUSE_SECONDS)
            except queue.Empty:
                return whole
            wait = False
            if message["ticket"] in self._away:  # else it was cancelled when it was done already
                group = self._forget(message["ticket"])
                whole.append((group, [_sample(**sample) for sample in message["samples"]]))

    def _forget(self, ticket: int) -> Group:
        group, rank = self._away.pop(ticket)
        self._load[rank] -= len(group.seeds)
        return group


def _sample(ids: list[int], logprobs: list[float | None], finish: str) -> Sample:
    # JSON has no word for a number that is not finite; the one who writes records looks for those.
    return Sample(ids, np.array([np.nan if value is None else value for value in logprobs], dtype=np.float32), finish)
