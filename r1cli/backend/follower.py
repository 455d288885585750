"""A rank other than 0: does what rank 0 says, and samples in between.

The thread that computes waits for words, not in a collective, so it may be idle for days. Another one reads, and ends
the process as soon as rank 0 is gone, whatever is being computed.
"""

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

from r1cli.algorithms.settings import GrpoSettings
from r1cli.algorithms.sft_settings import SftSettings
from r1cli.backend.base import EngineOptions
from r1cli.backend.batches import Rollout
from r1cli.backend.learner import EngineLost, Learner
from r1cli.backend.links import Link
from r1cli.backend.sampling import Group, Sample, SamplingParams
from r1cli.backend.sft import Example
from r1cli.backend.teaching import Teaching
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import R1Error


class Follower:
    """Obeys rank 0 until it says that it is over; `orphaned` is called, in a thread, when it is gone without a word."""

    def __init__(self, link: Link, options: EngineOptions, orphaned: Callable[[], None], *, world: int, near: int):
        self.link, self.options, self.world, self.near = link, options, world, near
        self.orphaned = orphaned
        self.learner: Learner | None = None
        self.closing = False
        self.inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.verbs: dict[str, Callable[..., Any]] = {
            "open": self._open, "start": self._start, "grpo": self._grpo, "sft": self._sft,
            "sft_sums": self._sft_sums, "restore": lambda folder: self.learner.restore(Path(folder)),
            "score": self._score, "refresh": lambda: self.learner.refresh(), "save": self._save,
            "reset": self._reset, "freeze": lambda: self.learner.freeze(), "thaw": lambda: self.learner.thaw(),
            "add": self._add, "cancel": self._cancel, "check": lambda: self.learner.sampler.check(),
        }  # fmt: skip
        link.listen(self._heard, self._ended)

    def _heard(self, message: dict[str, Any]) -> None:
        self.closing = self.closing or message["verb"] == "close"
        self.inbox.put(message)

    def _ended(self) -> None:
        if not self.closing:
            self.orphaned()

    def obey(self) -> None:
        """Works until rank 0 ends in order; whatever it raises, this rank can't go on."""
        while True:
            message = self._next()
            if message is None:
                self._sample()
            elif message["verb"] == "close":
                break
            else:
                self._do(**message)
        if self.learner is not None:
            self.learner.close()

    def _next(self) -> dict[str, Any] | None:
        """The next message; None when there is none and something to sample."""
        learner = self.learner
        busy = learner is not None and (learner.sampler.busy or learner.evaluator.busy)
        try:
            return self.inbox.get(block=not busy)
        except queue.Empty:
            return None

    def _do(self, verb: str, call: int | None, **arguments: Any) -> None:
        value = refused = None
        try:
            value = self.verbs[verb](**arguments)
        except EngineLost:
            raise
        except R1Error as error:
            if call is None:
                raise
            refused = str(error)
        if call is not None:
            self.link.send({"call": call, "refused": refused, "value": value})

    def _sample(self) -> None:
        """One token for what is to be sampled, evaluations last."""
        learner = self.learner
        name = "sampler" if learner.sampler.busy else "evaluator"
        sampler = learner.sampler if learner.sampler.busy else learner.evaluator
        for group, samples in sampler.step():
            self.link.send({"whole": name, "ticket": group.key, "samples": [_plain(sample) for sample in samples]})

    def _open(self, folder: str) -> None:
        tokenizer = Tokenizer.load(Path(folder))
        self.learner = Learner(Path(folder), self.options, tokenizer, world=self.world, near=self.near)

    def _start(self) -> None:
        self.learner.start()
        if self.learner.engine_name == "vllm":  # one that dies while there is nothing to sample is noticed, too
            self.learner.sampler.watch(lambda: self.inbox.put({"verb": "check", "call": None}))

    def _grpo(
        self,
        rollouts: list[dict[str, Any]],
        settings: dict[str, Any],
        stale: bool,
        step: int,
        reference: str | None,
    ) -> None:
        self.learner.grpo(
            [Rollout(**rollout) for rollout in rollouts],
            GrpoSettings(**settings),
            stale=stale,
            step=step,
            reference=Path(reference) if reference else None,
        )

    def _sft(
        self,
        examples: list[list[Any]],
        settings: dict[str, Any],
        step: int,
        teaching: dict[str, Any] | None,
        told: list[list[float]] | None,
    ) -> None:
        self.learner.sft(
            [Example(*example) for example in examples],
            SftSettings(**settings),
            step=step,
            teaching=Teaching(**teaching) if teaching else None,
            told=told,
        )

    def _sft_sums(self, examples: list[list[Any]], settings: dict[str, Any]) -> None:
        self.learner.sft_sums([Example(*example) for example in examples], SftSettings(**settings))

    def _score(self, sequences: list[list[Any]]) -> None:
        self.learner.score([tuple(sequence) for sequence in sequences])

    def _save(self, folder: str, origin: str) -> None:
        self.learner.save(Path(folder), Path(origin))

    def _reset(self, folder: str) -> None:
        self.learner.reset(Path(folder))

    def _add(self, sampler: str, ticket: int, prompt_ids: list[int], seeds: list[int], params: dict[str, Any]) -> None:
        params["stop"] = tuple(params["stop"])
        getattr(self.learner, sampler).add(Group(ticket, prompt_ids, seeds, SamplingParams(**params)))

    def _cancel(self, sampler: str, ticket: int) -> None:
        getattr(self.learner, sampler).cancel(ticket)


def _plain(sample: Sample) -> dict[str, Any]:
    return {"ids": sample.ids, "logprobs": sample.logprobs, "finish": sample.finish}
