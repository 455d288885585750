"""What a user asked r1 filter for: plain values, checked before anything is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from r1cli.errors import InputError
from r1cli.filters.decontaminate import Index

NEAR = 0.7
NGRAM = 10

# What says how another option works, and is a mistake without it.
NEEDS = {
    "correct_by": ("correct", "solve_rate"),
    "language": ("language_min",),
    "dedupe_by": ("dedupe",),
    "similarity": ("dedupe",),
    "ngram": ("decontaminate",),
    "decontaminate_answers": ("decontaminate",),
    "whole_input": ("solve_rate", "informative", "best_of"),
}


@dataclass(slots=True, frozen=True)
class Settings:
    """The options by their names; None, False and () are those not given. Raises InputError for what makes no sense."""

    finish_reason: tuple[str, ...] = ()
    correct: bool = False
    correct_by: str | None = None
    min_reward: float | None = None
    max_tokens: int | None = None
    max_chars: int | None = None
    no_code_in_think: bool = False
    max_paragraph_chars: int | None = None
    language_min: float | None = None
    language: str | None = None
    max_repeat: float | None = None
    decontaminate: Index | None = None
    decontaminate_answers: bool = False
    ngram: int | None = None
    dedupe: str | None = None
    dedupe_by: str | None = None
    similarity: float | None = None
    solve_rate: str | None = None
    informative: bool = False
    best_of: str | None = None
    per_prompt: int | None = None
    whole_input: bool = False
    others: tuple[tuple[str, Any], ...] = ()  # of filters that are a file of their own: name and value

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{flag(field.name)} {value}: expected a finite number")
        for name, owners in NEEDS.items():
            if self.given(name) and not any(self.given(owner) for owner in owners):
                wanted = " or ".join(flag(owner) for owner in owners)
                raise InputError(f"{flag(name)} says how {wanted} works, which was not asked for")
        if self.similarity is not None and self.dedupe != "near":
            raise InputError("--similarity says how alike near-duplicates are, and goes with --dedupe near")
        if self.language is not None:
            from r1cli.rewards.language import scripts_of

            if self.language != "auto":
                scripts_of(self.language)
        self.bounds()

    @classmethod
    def of(cls, options: dict[str, Any]) -> Settings:
        """Settings from the command's options; one that is no field here names a filter of its own file."""
        named = {field.name for field in fields(cls)}
        others = tuple((name, value) for name, value in options.items() if name not in named and _is_given(value))
        return cls(**{name: value for name, value in options.items() if name in named}, others=others)

    def given(self, name: str) -> bool:
        """Whether an option was given."""
        return _is_given(getattr(self, name))

    def value(self, name: str) -> Any:
        """The value of an option that was given; what was not has no business here."""
        return getattr(self, name)

    def bounds(self) -> tuple[float, float]:
        """LO and HI of the solve rate."""
        if self.solve_rate is None:
            return 0.0, 1.0
        low, colon, high = self.solve_rate.partition(":")
        try:
            bounds = float(low or 0), float(high or 1)
        except ValueError:
            bounds = 1.0, 0.0
        if not (colon and 0 <= bounds[0] <= bounds[1] <= 1):
            raise InputError(f"--solve-rate {self.solve_rate}: expected LO:HI with 0 <= LO <= HI <= 1, as in 0.05:0.95")
        return bounds


def _is_given(value: object) -> bool:
    return value is not None and value is not False and value != ()  # 0 is a value


def flag(name: str) -> str:
    """The option's spelling."""
    return f"--{name.replace('_', '-')}"
