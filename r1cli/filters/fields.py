"""Filters on what a record says about itself: how it ended, what it was rewarded, how long it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from r1cli.errors import InputError
from r1cli.records import Record, completion_tokens, digest
from r1cli.rewards.verdict import CORRECTNESS

if TYPE_CHECKING:
    from r1cli.filters.settings import Settings

# The reason to drop a record, or None. Raises InputError, without the place, for a record that lacks what it needs.
Filter = Callable[[Record], str | None]

_KINDS: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}


def finish_reason(settings: Settings) -> Filter:
    """Drops what ended otherwise than by one of the given reasons."""
    wanted = frozenset(settings.finish_reason)

    def check(record: Record) -> str | None:
        return None if field(record, "finish", str, "r1 sample writes it") in wanted else "finish"

    return check


def correct(settings: Settings) -> Filter:
    """Drops answers that are not right, and those whose judging gave no verdict."""
    name = settings.correct_by

    def check(record: Record) -> str | None:
        verdict = is_correct(record, name)
        return "unjudged" if verdict is None else None if verdict else "incorrect"

    return check


def min_reward(settings: Settings) -> Filter:
    """Drops what was rewarded less; a reward that failed (null) is none at all."""
    least = settings.value("min_reward")

    def check(record: Record) -> str | None:
        value = reward_of(record)
        return "unjudged" if math.isnan(value) else None if value >= least else "low_reward"

    return check


def max_tokens(settings: Settings) -> Filter:
    """Drops completions of more tokens; raises InputError for a record without its token ids."""
    most, remedy = settings.value("max_tokens"), "without token ids or usage.completion_tokens use --max-chars"

    def check(record: Record) -> str | None:
        tokens = completion_tokens(record)
        if tokens is None:
            tokens = len(field(record, "completion_ids", list, remedy))
        return None if tokens <= most else "too_many_tokens"

    return check


def max_chars(settings: Settings) -> Filter:
    """Drops completions of more characters."""
    most = settings.value("max_chars")

    def check(record: Record) -> str | None:
        return None if len(completion(record)) <= most else "too_long"

    return check


def field(record: Record, key: str, kind: type, remedy: str) -> Any:
    """A value that must be there with its type; raises InputError with the keys that are there and what to do."""
    value = record.get(key)
    if not isinstance(value, kind):
        found = ", ".join(list(record)[:8]) or "nothing"
        there = f"must be {_KINDS[kind]}" if key in record else f"is missing (found {found})"
        raise InputError(f'"{key}" {there}; {remedy}')
    return value


def completion(record: Record) -> str:
    """The record's completion; raises InputError when it has none."""
    return field(record, "completion", str, "filters of completions read rollouts, as r1 sample writes them")


def reward_of(record: Record) -> float:
    """The record's reward, NaN for one that failed (null); raises InputError when there is none."""
    if "reward" not in record:
        raise InputError('"reward" is missing; put r1 reward before r1 filter')
    return _number(record["reward"], "reward")


def is_correct(record: Record, name: str | None = None) -> bool | None:
    """Whether the answer was judged right: the first of CORRECTNESS that says so, or the named reward, is 1 or more.

    None when each of them is null. Raises InputError when the record carries none of them.
    """
    rewards = field(record, "rewards", dict, "put r1 reward --accuracy before r1 filter")
    wanted = (name,) if name else CORRECTNESS
    present = [each for each in wanted if each in rewards]
    if not present:
        found = ", ".join(rewards) or "nothing"
        raise InputError(
            f'"rewards" has none of {", ".join(wanted)} (found {found}); put r1 reward --accuracy before r1 filter, or '
            "name the reward that decides with --correct-by"
        )
    for each in present:
        value = _number(rewards[each], f"rewards.{each}")
        if not math.isnan(value):
            return value >= 1
        if not _does_not_apply(record, each):
            return None  # its judge failed: another reward must not speak for it
    return None


def _does_not_apply(record: Record, reward: str) -> bool:
    infos = record.get("reward_info")
    info = infos.get(reward) if isinstance(infos, dict) else None
    return isinstance(info, dict) and info.get("state") == "not-applicable"


def length(record: Record) -> int:
    """How long a completion is: its tokens where the record has them, else its characters."""
    tokens = completion_tokens(record)
    return len(completion(record)) if tokens is None else tokens


def prompt_key(record: Record) -> str:
    """What tells prompts apart: the record's id, or a digest of the prompt where it has none."""
    name = record.get("id")
    if isinstance(name, str):
        return name
    asked = record.get("messages", record.get("prompt"))
    if name is not None or asked is None:
        raise InputError('"id" must be a string that names the prompt' if asked is None else '"id" must be a string')
    return digest(asked)


def _number(value: Any, name: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f'"{name}" must be a finite number or null, found {str(value)[:40]!r}; judge it anew')
    return value
