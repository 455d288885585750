"""What a reward answers with, and the options a user may set. It knows no reward by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from r1cli.errors import InputError

SHAPES = ("zero", "think")
# The rewards that say whether an answer is right, and the key that each needs.
CORRECTNESS = {"accuracy": "answer", "choice": "answer", "code": "tests", "ifeval": "instructions"}


class Verdict(NamedTuple):
    """One reward's answer about one rollout.

    `state` is "ok" (value is a finite number), "not-applicable" (this reward says nothing about this record: its
    term is left out of the sum) or "failed" (it should have judged and could not: the whole reward is null).
    `reason` is a short machine-readable word; `extra` is copied into `reward_info`.
    """

    value: float | None
    reason: str
    state: str = "ok"
    extra: dict | None = None


@dataclass(slots=True, frozen=True)
class Options:
    """Settings shared by the rewards; raises InputError when one has no meaning.

    lenient: also read `answer is X`, `Answer: X` and `#### X` where nothing is boxed or tagged (for evaluation).
    format_shape: "zero" (DeepSeek-R1-Zero: think and answer tags) or "think" (DeepSeek-R1: think tags only).
    language: "auto" (the prompt's script) or a language code such as "en" or "zh".
    language_detector: judge Latin sentences with py3langid as well; off, scores need no package.
    ngram: words per n-gram of the repetition penalty.
    jobs: worker processes for what can't be judged at once; None is one per CPU.
    """

    lenient: bool = False
    format_shape: str = "zero"
    language: str = "auto"
    language_detector: bool = False
    ngram: int = 20
    jobs: int | None = None

    def __post_init__(self) -> None:
        if self.format_shape not in SHAPES:
            raise InputError(f"unknown format shape {self.format_shape!r}: use {' or '.join(SHAPES)}")


def not_applicable(reason: str) -> Verdict:
    """A verdict that leaves its term out of the sum."""
    return Verdict(None, reason, "not-applicable")


def failed(reason: str) -> Verdict:
    """A verdict that makes the whole reward null."""
    return Verdict(None, reason, "failed")
