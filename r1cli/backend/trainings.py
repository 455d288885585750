"""A run's trainings: which one a command means, where it stands, when it is saved, how it goes on.

What a training does in an update is the business of finetuning.py and onpolicy.py. Everything here is a function of the
data, the settings and the number of updates done, and that number is committed with each step: so a training that was
killed goes on in the middle of an epoch as if nothing had been.

A training's entry in State.trainings: `data` (fingerprint) and `settings` tell it from others, `start` and `step` are
the run's steps before it and now, `updates` and `epoch` how far it is, `best` {step, loss} the best validated step and
`since_best` how many validations were no better, where --patience watches; `finished` says that nothing is left to do.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from r1cli import stream
from r1cli.algorithms.sft_settings import SftSettings
from r1cli.backend.engine import Engine
from r1cli.backend.metrics import stamped
from r1cli.errors import InputError
from r1cli.records import Record
from r1cli.runs import Run, State

SAVE_SECONDS = 900.0  # what a crash may cost when the user says nothing
Entry = dict[str, Any]
# (entry, rows of the update, epochs done after it, whether it ends one) -> (metrics, entry after it)
Update = Callable[[Entry, Any, float, bool], tuple[Record, Entry]]


def drive(
    engine: Engine,
    request: dict[str, Any],
    entry: Entry,
    counts: list[int],
    epoch: Callable[[int], list[Any]],
    update: Update,
) -> Iterator[Record]:
    """Makes the updates that are left of a training; yields a metrics record for each.

    `counts` says how many updates each epoch has, `epoch` gives their rows. A training that is finished gives its
    stored metrics. Closing the iterator between updates saves what was reached.
    """
    if entry["finished"]:
        engine.note(f"finished already, at step {entry['step']}: nothing is left to do (--restart trains again)")
        yield from _stored(engine.run, entry)
        return
    if entry["updates"]:
        engine.note(f"goes on after update {entry['updates']} of {sum(counts)}")
    elif engine.state.trainings:
        last = engine.state.trainings[-1]
        how = _difference(last, entry) or "the same"
        engine.note(f"a new training, on top of step {entry['start']} (the last: {how})")
    engine.save(request.get("keep"))  # what a disk that was full has kept from it
    done = 0
    for number, count in enumerate(counts):
        if entry["updates"] >= done + count:
            done += count
            continue
        for place, rows in enumerate(epoch(number)):
            if done + place < entry["updates"]:
                continue
            record, entry = update(entry, rows, number + (place + 1) / count, place + 1 == count)
            try:
                yield record
            except GeneratorExit:
                engine.save(request.get("keep"))
                raise
            if entry["finished"]:
                return
        done += count


@dataclasses.dataclass(slots=True)
class Keeper:
    """Commits the updates of one training, and publishes what a crash must not cost."""

    engine: Engine
    request: dict[str, Any]
    saved_at: float = dataclasses.field(default_factory=time.monotonic)

    def commit(self, entry: Entry, metrics: list[Record], *, ends_epoch: bool) -> Record:
        """Takes over the entry and metrics of an update that was made; returns the metrics as they are kept."""
        engine = self.engine
        metrics = stamped(metrics, engine.state.iteration + 1, self._due(entry, ends_epoch))
        state = engine.state.advance([], metrics, cursor=engine.state.cursor, refreshed=entry["finished"])
        finished = [each for each in state.trainings if each["finished"]]
        engine.commit(state._replace(trainings=(*finished, entry)), metrics, self.request.get("keep"))
        return metrics[-1]

    def _due(self, entry: Entry, ends_epoch: bool) -> bool:
        """Whether an update is published: the last one, each best, and what --save-every says."""
        every = self.request.get("save_every")
        if every is None:
            due = ends_epoch or time.monotonic() - self.saved_at > SAVE_SECONDS
        else:
            due = entry["updates"] % every == 0
        best = entry["best"] is not None and entry["best"]["step"] == entry["step"]
        if due := due or best or entry["finished"]:
            self.saved_at = time.monotonic()
        return due


def _is_open(state: State) -> bool:
    """Whether the run stands in the middle of a training, with nothing else done since."""
    last = state.trainings[-1] if state.trainings else None
    return last is not None and not last["finished"] and last["step"] == state.step


def find(engine: Engine, fingerprint: str, settings: SftSettings, more: Record, restart: bool) -> Entry:
    """What the run's state says of a training on this data, with these settings: done, begun, or new.

    `more` are settings besides. Raises InputError when the run is in the middle of another one.
    """
    state, run = engine.state, engine.run
    # How much is computed at once changes only the rounding: after running out of memory one goes on with less.
    kept = {key: value for key, value in dataclasses.asdict(settings).items() if key != "micro_tokens"} | more
    new = {
        "data": fingerprint, "settings": kept, "start": state.step, "step": state.step, "updates": 0, "epoch": 0.0,
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


def _same(one: Entry, other: Entry) -> bool:
    return one["data"] == other["data"] and one["settings"] == other["settings"]


def _difference(old: Entry, new: Entry) -> str:
    names = {**old["settings"], **new["settings"]}
    changed = [name for name in names if old["settings"].get(name) != new["settings"].get(name)]
    # These two change the examples, and the examples the number of updates.
    other = [] if {"loss", "max_length"} & set(changed) or old["data"] == new["data"] else ["on other examples"]
    names = [name for name in changed if name not in ("total_steps", "warmup_steps")] or changed
    return ", ".join(
        other or [f"{name} {old['settings'].get(name)}, now {new['settings'].get(name)}" for name in names]
    )


def _stored(run: Run, entry: Entry) -> Iterator[Record]:
    """The metrics of a finished training, from metrics.jsonl."""
    for line in stream.read([run.path / "metrics.jsonl"]):
        if entry["start"] < line.record["step"] <= entry["step"]:
            yield line.record
