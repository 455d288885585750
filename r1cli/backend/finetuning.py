"""Supervised fine-tuning of a run: which examples go into which update, when to validate and to stop.

One update is the business of sft.py, the examples are that of examples.py, and when to save and how to go on that of
trainings.py.
"""

import dataclasses
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from r1cli.algorithms.sft_settings import SftSettings
from r1cli.backend.engine import Engine
from r1cli.backend.sft_input import Data
from r1cli.backend.trainings import Entry, Keeper, drive, find
from r1cli.errors import InputError
from r1cli.records import Record

EVALUATED = 256  # examples of which the token lists exist at once


class Order(NamedTuple):
    """The updates of a training: rows of each, epoch by epoch, the same for the same examples and settings."""

    lengths: np.ndarray
    rows: np.ndarray
    settings: SftSettings

    def epoch(self, number: int) -> list[np.ndarray]:
        """The rows of each update of an epoch: a new order each time, the last update takes what is left."""
        order = list(range(len(self.rows)))
        random.Random(f"{self.settings.shuffle_seed}:{number}").shuffle(order)
        rows = self.rows[order]
        if self.settings.batch_tokens is None:
            return [rows[start : start + self.settings.batch] for start in range(0, len(rows), self.settings.batch)]
        ends = np.cumsum(self.lengths[rows])
        updates, start = [], 0
        while start < len(rows):
            limit = self.settings.batch_tokens + (ends[start - 1] if start else 0)
            stop = max(start + 1, int(np.searchsorted(ends, limit, "right")))
            updates.append(rows[start:stop])
            start = stop
        return updates

    def counts(self) -> list[int]:
        """How many updates each epoch has."""
        if self.settings.batch_tokens is None:
            return [-(-len(self.rows) // self.settings.batch)] * self.settings.epochs
        return [len(self.epoch(number)) for number in range(self.settings.epochs)]


def train(engine: Engine, data: Data, request: dict[str, Any]) -> Iterator[Record]:
    """Trains the engine's run on the data, or goes on with it; yields a metrics record per update.

    A training that is finished gives its stored metrics. Closing the iterator between updates saves what was reached.
    Raises InputError for other examples or settings than those of the training that the run is in the middle of,
    R1Error when an update or its saving fails.
    """
    order = Order(data.examples.lengths, data.train, data.settings)
    counts = order.counts()
    try:
        settings = data.settings.over(sum(counts))
    except ValueError as error:
        raise InputError(str(error)) from None
    taught = data.teaching._asdict() if data.teaching else {}
    entry = find(engine, data.fingerprint, settings, taught, bool(request.get("restart")))
    job = Job(engine, data, settings, sum(counts), Keeper(engine, request))
    yield from drive(engine, request, entry, counts, order.epoch, job.update)


@dataclasses.dataclass(slots=True)
class Job:
    """What stays the same from update to update of one training."""

    engine: Engine
    data: Data
    settings: SftSettings
    updates: int
    keeper: Keeper

    def update(self, entry: Entry, rows: np.ndarray, epoch: float, ends_epoch: bool) -> tuple[Record, Entry]:
        """Makes one update, validates where that is due, and commits; returns its metrics and the new entry."""
        engine, number, found = self.engine, entry["updates"] + 1, dict(entry)

        def step(begin: Callable[[], None]) -> list[Record]:
            learner = engine.learner
            examples = [self.data.examples.example(int(row)) for row in rows]
            record = learner.sft(examples, self.settings, step=number - 1, teaching=self.data.teaching, on_update=begin)
            seconds = record.pop("seconds")
            record = {
                "step": engine.state.step + 1, "update": number, "updates": self.updates, "epoch": epoch, **record,
            }  # fmt: skip
            found.update(step=record["step"], updates=number, epoch=epoch, finished=number == self.updates)
            if self.data.validation is not None:
                record["validation_loss"] = None
                every = self.settings.validate_every
                if found["finished"] or (ends_epoch if every is None else number % every == 0):
                    began = time.perf_counter()
                    record["validation_loss"] = self._validate()
                    seconds["validation"] = time.perf_counter() - began
                    self._judge(found, record["validation_loss"])
            best = found["best"]
            if found["finished"] and best:
                record["best_step"] = best["step"]
                if best["step"] != record["step"]:
                    learner.restore(engine.run.step_folder(best["step"]))
            return [{**record, "seconds": seconds}]

        return self.keeper.commit(found, engine.update(step), ends_epoch=ends_epoch), found

    def _validate(self) -> float:
        """Mean of -log p over the trained tokens of the validation examples."""
        held, total, tokens = self.data.validation, 0.0, 0
        for start in range(0, len(held), EVALUATED):
            part = [held[row] for row in range(start, min(start + EVALUATED, len(held)))]
            some, count = self.engine.learner.sft_sums(part, self.settings)
            total, tokens = total + some, tokens + count
        return total / tokens

    def _judge(self, found: dict[str, Any], loss: float) -> None:
        """Takes a validation loss into account: a new best, or one more without; too many of these end the training."""
        if self.settings.patience is None:
            return
        if found["best"] is None or loss < found["best"]["loss"]:
            found.update(best={"step": found["step"], "loss": loss}, since_best=0)
        else:
            found["since_best"] += 1
            found["finished"] = found["finished"] or found["since_best"] >= self.settings.patience
