"""A learner over all ranks: each of its methods is run on every rank, and here as well.

How the others are reached, and what happens when one is lost, is said in ranks.py; what each does, in learner.py.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from r1cli.algorithms.settings import GrpoSettings
from r1cli.algorithms.sft_settings import SftSettings
from r1cli.backend.base import EngineOptions
from r1cli.backend.batches import Rollout
from r1cli.backend.learner import Learner
from r1cli.backend.ranks import Declined, Ranks
from r1cli.backend.sft import Example
from r1cli.backend.spread import Spread
from r1cli.backend.teaching import Teaching
from r1cli.backend.tokenizer import Tokenizer


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
        common = {"stale": stale, "step": step}
        metrics, _ = self.ranks.call(
            "grpo",
            lambda: self.own.grpo(rollouts, settings, reference=reference, on_update=declining(on_update), **common),
            rollouts=rollouts,
            settings=settings,
            reference=reference and str(reference),
            **common,
        )
        return metrics

    def sft(
        self,
        examples: Sequence[Example],
        settings: SftSettings,
        *,
        step: int,
        teaching: Teaching | None = None,
        told: list[list[float]] | None = None,
        on_update: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """As Learner.sft; `on_update` is asked here, and all ranks follow."""
        begin = declining(on_update)
        metrics, _ = self.ranks.call(
            "sft",
            lambda: self.own.sft(examples, settings, step=step, teaching=teaching, told=told, on_update=begin),
            teaching=teaching and teaching._asdict(),
            told=told,
            examples=[list(example) for example in examples],
            settings=settings,
            step=step,
        )
        return metrics

    def sft_sums(self, examples: Sequence[Example], settings: SftSettings) -> tuple[float, int]:
        """As Learner.sft_sums."""
        plain = [list(example) for example in examples]
        sums, _ = self.ranks.call(
            "sft_sums", lambda: self.own.sft_sums(examples, settings), examples=plain, settings=settings
        )
        return sums

    def restore(self, folder: Path) -> None:
        """As Learner.restore."""
        self.ranks.call("restore", lambda: self.own.restore(folder), folder=str(folder))

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


def declining(on_update: Callable[[], None] | None) -> Callable[[], None]:
    """The same, with what it raises wrapped as Declined."""

    def begin() -> None:
        try:
            if on_update is not None:
                on_update()
        except BaseException as error:
            raise Declined(error) from error

    return begin
