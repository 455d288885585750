"""On-policy distillation of a run: the student samples, the teacher in this process says how likely each token was.

The loss is that of algorithms/distillation.py, an update that of sft.py; when to save and how to go on is the business
of trainings.py. Samples follow from the seed and the run's iteration, so a training that goes on draws what it would
have drawn.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from r1cli.algorithms.sft_settings import SftSettings
from r1cli.backend import rollouts
from r1cli.backend.engine import Engine
from r1cli.backend.finetuning import Order
from r1cli.backend.model import ModelConfig
from r1cli.backend.remote_teacher import RemoteTeacher
from r1cli.backend.sampling import Sample
from r1cli.backend.sft import Example
from r1cli.backend.sft_input import read_settings
from r1cli.backend.teaching import Teaching, read_teaching
from r1cli.backend.tokenizer import Tokenizer
from r1cli.backend.trainings import Entry, Keeper, drive, find
from r1cli.errors import InputError
from r1cli.records import Prompt, Record, digest
from r1cli.runs import Run, State

DRAWN = ("group", "temperature", "top_p", "max_tokens", "stop", "template", "seed", "few_shot", "prefill")


class Work(NamedTuple):
    """What a training is about, checked: prompts, in which updates, how they are sampled and what is learnt of them."""

    prompts: list[Prompt]
    order: Order
    settings: SftSettings
    teaching: Teaching
    sampling: dict[str, Any]


def read_work(
    run: Run,
    tokenizer: Tokenizer,
    config: ModelConfig,
    prompts: list[Prompt],
    request: dict[str, Any],
    note: Callable[[str], None],
) -> Work:
    """The work of a request with `teaching`, `settings` (batch: samples of an update) and `sampling` (of r1 sample).

    Raises InputError for prompts that can't be sampled, a teacher of another vocabulary, and settings without sense,
    before anything of the run is touched.
    """
    settings = read_settings(run, config, request, note)
    teaching = read_teaching(request, tokenizer, config)
    asked = {name: value for name, value in request["sampling"].items() if name in DRAWN and value is not None}
    chosen = {name: value for name, value in {**rollouts.settings(asked, run), **asked}.items() if name in DRAWN}
    if chosen["temperature"] != 1 or chosen["top_p"] != 1:
        raise InputError(
            "on-policy distillation samples from the student as it is: temperature 1 and top-p 1, not "
            f"{chosen['temperature']:g} and {chosen['top_p']:g}; set them in --sample"
        )
    given = {"run": run, "state": State(), "tokenizer": tokenizer, "context": config.context, "path": ""}
    planned = rollouts.plan(chosen, prompts, **given)  # a prompt that can't be sampled is found now
    if teaching.folder is None:
        with RemoteTeacher(teaching.teacher, teaching.model) as remote:
            remote.check(tokenizer.decode(planned.groups[0].prompt_ids), tokenizer)
    questions = dataclasses.replace(settings, batch=max(1, settings.batch // chosen["group"]))
    order = Order(np.ones(len(prompts), int), np.arange(len(prompts)), questions)
    try:
        settings = settings.over(sum(order.counts()))
    except ValueError as error:
        raise InputError(str(error)) from None
    return Work(prompts, order, settings, teaching, chosen)


def train(engine: Engine, prompts: list[Prompt], request: dict[str, Any]) -> Iterator[Record]:
    """Trains the engine's run on its own samples, or goes on with it; yields a metrics record per update.

    Nothing else may be sampled by the engine while an update is made. Raises as read_work, and R1Error when an update
    or its saving fails.
    """
    work = read_work(engine.run, engine.tokenizer, engine.config, prompts, request, engine.note)
    fingerprint = digest([prompt.line.decode() for prompt in prompts])
    more = {**work.teaching._asdict(), "sampling": {**work.sampling, "few_shot": digest(work.sampling.get("few_shot"))}}
    entry = find(engine, fingerprint, work.settings, more, bool(request.get("restart")))
    counts = work.order.counts()
    far = None if work.teaching.folder else RemoteTeacher(work.teaching.teacher, work.teaching.model)
    with far or nullcontext():
        job = Job(engine, work, sum(counts), Keeper(engine, request), far)
        yield from drive(engine, request, entry, counts, work.order.epoch, job.update)


@dataclasses.dataclass(slots=True)
class Job:
    """What stays the same from update to update of one training."""

    engine: Engine
    work: Work
    updates: int
    keeper: Keeper
    far: RemoteTeacher | None

    def update(self, entry: Entry, rows: np.ndarray, epoch: float, ends_epoch: bool) -> tuple[Record, Entry]:
        """Samples, makes one update and commits it; returns its metrics and the new entry."""
        engine, number, found = self.engine, entry["updates"] + 1, dict(entry)
        began = time.perf_counter()
        drawn = self._sample([self.work.prompts[row] for row in rows])
        seconds = {"sampling": time.perf_counter() - began}
        # Groups by their place and not by the request's number: equal updates then have equal groups.
        examples = [
            Example(prompt, sample.ids, None, place)
            for place, (prompt, samples) in enumerate(drawn)
            for sample in samples
        ]
        told = None
        if self.far is not None:
            began = time.perf_counter()
            told = self.far.score([(example.prompt, example.completion) for example in examples])
            seconds["teacher"] = time.perf_counter() - began
        cut = sum(sample.finish == "length" for _, samples in drawn for sample in samples)

        def step(begin: Callable[[], None]) -> list[Record]:
            record = engine.learner.sft(
                examples, self.work.settings, step=number - 1, teaching=self.work.teaching, told=told, on_update=begin
            )
            spent = {**seconds, **record.pop("seconds")}
            record = {
                "step": engine.state.step + 1, "update": number, "updates": self.updates, "epoch": epoch, **record,
                "length_mean": record["labelled_tokens"] / len(examples), "truncated": cut / len(examples),
            }  # fmt: skip
            found.update(step=record["step"], updates=number, epoch=epoch, finished=number == self.updates)
            return [{**record, "seconds": spent}]

        return self.keeper.commit(found, engine.update(step), ends_epoch=ends_epoch), found

    def _sample(self, prompts: list[Prompt]) -> list[tuple[list[int], list[Sample]]]:
        """Each prompt's ids and samples, in the order of the prompts, whichever is done first."""
        sampler = self.engine.sampler
        job = self.engine.plan(self.work.sampling, prompts)
        for group in job.groups:
            sampler.add(group)
        done: dict[Any, list[Sample]] = {}
        while sampler.busy:
            done.update((group.key, samples) for group, samples in sampler.step())
        return [(group.prompt_ids, done[group.key]) for group in job.groups]
