"""Rank 0's hold on the other ranks: it calls them all, takes their samples, and ends everything when one is lost.

`Ranked` has a learner's methods; each is sent to all ranks, which run it on their own learners (follower.py), and run
here as well. A rank that dies or fails is noticed by threads that only read, so also while this process hangs in a
collective. How the ranks came together is said in joining.py.
"""

import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from r1cli.algorithms.settings import GrpoSettings
from r1cli.backend.base import EngineOptions
from r1cli.backend.batches import Rollout
from r1cli.backend.launch import log_path
from r1cli.backend.learner import EngineLost, Learner
from r1cli.backend.links import Link, describe, pack
from r1cli.backend.spread import Spread
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import R1Error

Value = TypeVar("Value")

# What one rank refuses, all refuse, for they look at the same things; one that does so alone has left them behind.
AGREE_SECONDS = 60.0
CAUSE_SECONDS = 0.3  # in which others may say why they ended, too: the first cause counts, not the first message
BLAME_SECONDS = 5.0  # in which an error here may turn out to be another rank's end
CLOSE_SECONDS = 60.0


class Ranks:
    """The links to ranks 1, 2, ...; `lost` is called once, in a thread, with the words for the rank that ended."""

    def __init__(self, links: list[Link], run: Path, lost: Callable[[str], None], stop: Callable[[], None]):
        self.links, self.run, self.lost, self.stop = links, run, lost, stop
        self.world = len(links) + 1
        self.hosts = [link.connection.getpeername()[0] for link in links]
        self.whole: dict[str, queue.SimpleQueue[dict[str, Any]]] = {
            "sampler": queue.SimpleQueue(),
            "evaluator": queue.SimpleQueue(),
        }
        self._answers: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()
        self._number = 0
        self._guard = threading.Lock()
        self._ended: dict[int, str | None] = {}  # rank: its own words, None for one that said nothing
        self._gone = [threading.Event() for _ in links]
        self._timer: threading.Timer | None = None
        self._closing = False
        self._broken = False
        for rank, link in enumerate(links, 1):
            link.listen(lambda message, rank=rank: self._heard(rank, message), lambda rank=rank: self._end(rank))

    # Called by the reading threads

    def _heard(self, rank: int, message: dict[str, Any]) -> None:
        if "whole" in message:
            self.whole[message["whole"]].put(message)
        elif "call" in message:
            if message["refused"] is not None:
                self._expect_all(rank, message["refused"])
            self._answers.put((rank, message))
        elif "failed" in message:
            self._note_end(rank, message["failed"])
        elif "stop" in message:
            self.stop()
        elif "host" in message:
            self.hosts[rank - 1] = message["host"]

    def _end(self, rank: int) -> None:
        self._gone[rank - 1].set()
        self._note_end(rank, None)

    def _note_end(self, rank: int, words: str | None) -> None:
        with self._guard:
            first = not self._ended
            self._ended.setdefault(rank, words)
            if self._closing or not first:
                return
        time.sleep(CAUSE_SECONDS)
        # One that said nothing was killed: what others say of it, a broken connection most likely, is no cause.
        silent = [rank for rank, words in list(self._ended.items()) if words is None]
        rank = silent[0] if silent else next(iter(self._ended))
        self._lose(rank, self._ended[rank])

    def _lose(self, rank: int, words: str | None) -> None:
        log = log_path(self.run, rank)
        self.lost(
            f"rank {rank} on {self.hosts[rank - 1]} " + (f"failed: {words}; see {log}" if words else f"died; see {log}")
        )

    def _expect_all(self, rank: int, words: str) -> None:
        with self._guard:
            if self._timer is None:
                self._timer = threading.Timer(AGREE_SECONDS, self._lose, (rank, words))
                self._timer.daemon = True
                self._timer.start()

    # Called by the thread that computes

    def post(self, verb: str, rank: int | None = None, **arguments: Any) -> None:
        """Tells all ranks, or one, to do something that gives no answer."""
        data = pack({"verb": verb, "call": None, **arguments})
        for link in self.links if rank is None else [self.links[rank - 1]]:
            link.send(data)

    def call(self, verb: str, own: Callable[[], Value], **arguments: Any) -> tuple[Value, list[Any]]:
        """Lets all ranks do something together; this one's result and those of all.

        `own` is this rank's part. An R1Error that all ranks raise is raised; EngineLost when they disagree or when this
        one fails in another way, as by a lack of memory.
        """
        self._number += 1
        data = pack({"verb": verb, "call": self._number, **arguments})
        for link in self.links:
            link.send(data)
        value = refusal = None
        try:
            value = own()
        except EngineLost:
            self._broken = True
            raise
        except (R1Error, Declined) as error:
            refusal = error
        except BaseException as error:
            self._blame(error)
        answers = self._collect(AGREE_SECONDS if refusal else None)
        with self._guard:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        for rank, answer in answers.items():
            if (answer["refused"] is None) != (refusal is None):
                self._broken = True
                raise EngineLost(
                    f"rank {rank} on {self.hosts[rank - 1]} and rank 0 disagree: {answer['refused'] or refusal}"
                )
        if refusal is not None:
            raise refusal.error if isinstance(refusal, Declined) else refusal
        return value, [value, *(answers[rank]["value"] for rank in sorted(answers))]

    def _collect(self, seconds: float | None) -> dict[int, dict[str, Any]]:
        answers: dict[int, dict[str, Any]] = {}
        while len(answers) < len(self.links):
            try:
                rank, answer = self._answers.get(timeout=seconds)
            except queue.Empty:
                silent = sorted(set(range(1, self.world)) - set(answers))
                self._broken = True
                raise EngineLost(f"rank 0 refused what ranks {silent} went on with") from None
            if answer["call"] == self._number:
                answers[rank] = answer
        return answers

    def _blame(self, error: BaseException) -> NoReturn:
        # A rank that dies breaks this one's collectives too: its readers, who know better, end the process meanwhile.
        if isinstance(error, Exception):
            time.sleep(BLAME_SECONDS)
        self._broken = True
        if not isinstance(error, Exception):
            raise error
        raise EngineLost(f"rank 0 on {socket.gethostname()} failed: {describe(error)}") from error

    def close(self) -> None:
        """Lets all ranks end, in order when nothing is broken; returns when they have, and never when one is lost."""
        with self._guard:
            self._closing = not self._ended or self._closing
        if not self._closing:
            threading.Event().wait()  # for the thread that ends this process
        if not self._broken:
            self.post("close")
            deadline = time.monotonic() + CLOSE_SECONDS
            for gone in self._gone:
                gone.wait(max(0.0, deadline - time.monotonic()))
        for link in self.links:
            link.close()


class Declined(Exception):
    """The update was called off here, by `error`, before it began; the other ranks hear of it from the trainer."""

    def __init__(self, error: BaseException):
        self.error = error


class Ranked:
    """A learner over all ranks, with the methods of one (learner.py); `near` ranks are on this machine."""

    def __init__(self, ranks: Ranks, near: int, folder: Path, options: EngineOptions, tokenizer: Tokenizer):
        self.ranks = ranks
        self.own, _ = ranks.call(
            "open",
            lambda: Learner(folder, options, tokenizer, world=ranks.world, near=near),
            folder=str(folder),
        )
        own = self.own
        self.device, self.model, self.slots, self.world = own.device, own.model, own.slots, ranks.world
        self.engine_name, self.trainer_name, self.zero = own.engine_name, own.trainer_name, own.zero
        self.sampler = self.evaluator = Spread(own.sampler, ranks, "sampler", own.slots)
        if own.evaluator is not own.sampler:
            self.evaluator = Spread(own.evaluator, ranks, "evaluator", own.slots)

    @property
    def frozen(self) -> bool:
        """Whether evaluations go on with a copy of older weights."""
        return self.own.frozen

    def start(self) -> None:
        """Starts every rank's sampler."""
        self.ranks.call("start", self.own.start)

    def close(self) -> None:
        """Ends every rank."""
        self.ranks.close()
        self.own.close()

    def freeze(self) -> None:
        """As Learner.freeze, also where no part of an evaluation is under way at this moment."""
        self.ranks.post("freeze")
        self.own.freeze()

    def thaw(self) -> None:
        """As Learner.thaw."""
        self.ranks.post("thaw")
        self.own.thaw()

    def grpo(
        self,
        rollouts: list[Rollout],
        settings: GrpoSettings,
        *,
        stale: bool,
        step: int,
        reference: Path | None,
        on_update: Callable[[], None] | None = None,
    ) -> list[dict[str, Any]]:
        """As Learner.grpo; `on_update` is asked here, and all ranks follow."""

        def begin() -> None:
            try:
                if on_update is not None:
                    on_update()
            except BaseException as error:
                raise Declined(error) from error

        common = {"stale": stale, "step": step}
        metrics, _ = self.ranks.call(
            "grpo",
            lambda: self.own.grpo(rollouts, settings, reference=reference, on_update=begin, **common),
            rollouts=rollouts,
            settings=settings,
            reference=reference and str(reference),
            **common,
        )
        return metrics

    def score(self, sequences: Sequence[tuple[list[int], list[int], float]]) -> list[list[float]]:
        """As Learner.score."""
        return self.ranks.call("score", lambda: self.own.score(sequences), sequences=sequences)[0]

    def refresh(self) -> float | None:
        """As Learner.refresh; the largest gap of all ranks."""
        _, gaps = self.ranks.call("refresh", self.own.refresh)
        return max((gap for gap in gaps if gap is not None), default=None)

    def save(self, folder: Path, origin: Path) -> None:
        """As Learner.save; rank 0 writes."""
        self.ranks.call("save", lambda: self.own.save(folder, origin), folder=str(folder), origin=str(origin))

    def reset(self, folder: Path) -> None:
        """As Learner.reset."""
        self.ranks.call("reset", lambda: self.own.reset(folder), folder=str(folder))
