"""Supervised fine-tuning of a run: which examples go into which update, when to validate, save and stop, how to go on.

Everything is a function of the examples, the settings and the number of updates done, and that number is committed with
each step: so a training that was killed goes on in the middle of an epoch as if nothing had been. One update is the
business of sft.py, the examples are that of examples.py.

A training's entry in State.trainings: `data` (fingerprint) and `settings` tell it from others, `start` and `step` are
the run's steps before it and now, `updates` and `epoch` how far it is, `best` {step, loss} the best validated step and
`since_best` how many validations were no better, where --patience watches; `finished` says that nothing is left to do.
"""

import dataclasses
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from r1cli.algorithms.sft_settings import SftSettings
from r1cli.backend.engine import Engine
from r1cli.backend.metrics import stamped
from r1cli.backend.sft_input import Data
from r1cli.errors import InputError
from r1cli.records import Record
from r1cli.runs import Run, State

EVALUATED = 256  # examples of which the token lists exist at once
SAVE_SECONDS = 900.0  # what a crash may cost when the user says nothing


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
    entry = _entry(engine, data, settings, bool(request.get("restart")))
    if entry["finished"]:
        engine.note(f"finished already, at step {entry['step']}: nothing is left to do (--restart trains again)")
        yield from _stored(engine.run, entry)
        return
    if entry["updates"]:
        engine.note(f"goes on after update {entry['updates']} of {sum(counts)}")
    engine.save(request.get("keep"))  # what a disk that was full has kept from it
    job = Job(engine, data, settings, request, counts, time.monotonic())
    done = 0
    for number, count in enumerate(counts):
        if entry["updates"] >= done + count:
            done += count
            continue
        for place, rows in enumerate(order.epoch(number)):
            if done + place < entry["updates"]:
                continue
            record, entry = job.update(entry, rows, number + (place + 1) / count, ends_epoch=place + 1 == count)
            try:
                yield record
            except GeneratorExit:
                engine.save(request.get("keep"))
                raise
            if entry["finished"]:
                return
        done += count


@dataclasses.dataclass(slots=True)
class Job:
    """What stays the same from update to update of one training, and when it was last saved."""

    engine: Engine
    data: Data
    settings: SftSettings
    request: dict[str, Any]
    counts: list[int]
    saved_at: float

    def update(
        self, entry: dict[str, Any], rows: np.ndarray, epoch: float, *, ends_epoch: bool
    ) -> tuple[Record, dict[str, Any]]:
        """Makes one update, validates where that is due, and commits; returns its metrics and the new entry."""
        engine, number, found = self.engine, entry["updates"] + 1, dict(entry)

        def step(begin: Callable[[], None]) -> list[Record]:
            learner = engine.learner
            examples = [self.data.examples.example(int(row)) for row in rows]
            record = learner.sft(examples, self.settings, step=number - 1, on_update=begin)
            seconds = record.pop("seconds")
            record = {
                "step": engine.state.step + 1, "update": number, "updates": sum(self.counts), "epoch": epoch, **record,
            }  # fmt: skip
            found.update(step=record["step"], updates=number, epoch=epoch, finished=number == sum(self.counts))
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

        metrics = engine.update(step)
        saved = self._saves(found, ends_epoch)
        metrics = stamped(metrics, engine.state.iteration + 1, saved)
        state = engine.state.advance([], metrics, cursor=engine.state.cursor, refreshed=found["finished"])
        finished = [each for each in state.trainings if each["finished"]]
        engine.commit(state._replace(trainings=(*finished, found)), metrics, self.request.get("keep"))
        return metrics[-1], found

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

    def _saves(self, found: dict[str, Any], ends_epoch: bool) -> bool:
        """Whether an update is published: the last one, each best, and what --save-every says."""
        every = self.request.get("save_every")
        if every is None:
            due = ends_epoch or time.monotonic() - self.saved_at > SAVE_SECONDS
        else:
            due = found["updates"] % every == 0
        best = found["best"] is not None and found["best"]["step"] == found["step"]
        if due := due or best or found["finished"]:
            self.saved_at = time.monotonic()
        return due


def _is_open(state: State) -> bool:
    """Whether the run stands in the middle of a training, with nothing else done since."""
    last = state.trainings[-1] if state.trainings else None
    return last is not None and not last["finished"] and last["step"] == state.step


def _entry(engine: Engine, data: Data, settings: SftSettings, restart: bool) -> dict[str, Any]:
    """What the run's state says of this training: done, begun, or new."""
    state, run = engine.state, engine.run
    # How much is computed at once changes only the rounding: after running out of memory one goes on with less.
    kept = {key: value for key, value in dataclasses.asdict(settings).items() if key != "micro_tokens"}
    new = {
        "data": data.fingerprint, "settings": kept, "start": state.step, "step": state.step, "updates": 0, "epoch": 0.0,
        "best": None, "since_best": 0, "finished": False,
    }  # fmt: skip
    if restart:
        return new
    for entry in state.trainings:
        if entry["finished"] and _same(entry, new):
            return entry
    last = state.trainings[-1] if state.trainings else None
    if last is None or last["finished"]:
        return new
    again = "--restart begins anew with the run's weights as they are"
    if not _is_open(state):
        if _same(last, new):
            raise InputError(
                f"{run.path} was {last['updates']} updates into this training at step {last['step']}, and has been "
                f"trained otherwise since (step {state.step}); {again}"
            )
        return new
    if _same(last, new):
        return last
    raise InputError(
        f"{run.path} is in the middle of another training ({last['updates']} of {last['settings']['total_steps']} "
        f"updates; {_difference(last, new)}); finish that by the command it was begun with, or {again}"
    )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one["data"] == other["data"] and one["settings"] == other["settings"]


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    changed = [name for name, value in new["settings"].items() if old["settings"].get(name) != value]
    # These two change the examples, and the examples the number of updates.
    other = [] if {"loss", "max_length"} & set(changed) or old["data"] == new["data"] else ["on other examples"]
    names = [name for name in changed if name not in ("total_steps", "warmup_steps")] or changed
    return ", ".join(other or [f"{name} {old['settings'].get(name)}, now {new['settings'][name]}" for name in names])


def _stored(run: Run, entry: dict[str, Any]) -> Iterator[Record]:
    """The metrics of a finished training, from metrics.jsonl."""
    from r1cli import stream

    for line in stream.read([run.path / "metrics.jsonl"]):
        if entry["start"] < line.record["step"] <= entry["step"]:
            yield line.record
