"""Filters: each reads one record and answers with the reason to drop it, or None; group rules judge a prompt's samples.

A new filter is a file here and its option in commands/filter.py, both of one name (CONTRIBUTING.md). The order of the
tables below is the order in which filters are asked, so that every dropped record has exactly one reason: what the
record says of itself, how it is written, filters of their own files, evaluation data, duplicates (of what is left),
then what needs all samples of a prompt. Nothing here reads or writes the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from r1cli.filters.decontaminate import decontaminate
from r1cli.filters.duplicates import dedupe
from r1cli.filters.fields import Filter, correct, finish_reason, max_chars, max_tokens, min_reward
from r1cli.filters.samples import GroupRule, best_of, informative, solve_rate
from r1cli.filters.settings import Settings
from r1cli.filters.thinking import language_min, max_paragraph_chars, max_repeat, no_code_in_think

__all__ = ["GROUP_RULES", "RECORD_FILTERS", "REMEMBERING", "Settings", "own_filter"]

RECORD_FILTERS: dict[str, Callable[[Settings], Filter]] = {
    "finish_reason": finish_reason,
    "correct": correct,
    "min_reward": min_reward,
    "max_tokens": max_tokens,
    "max_chars": max_chars,
    "no_code_in_think": no_code_in_think,
    "max_paragraph_chars": max_paragraph_chars,
    "language_min": language_min,
    "max_repeat": max_repeat,
    "decontaminate": decontaminate,
    "dedupe": dedupe,
}
# After all others: what they drop must not take a good record that resembles it with it.
REMEMBERING = ("decontaminate", "dedupe")

GROUP_RULES: dict[str, Callable[[Settings], GroupRule]] = {
    "solve_rate": solve_rate,
    "informative": informative,
    "best_of": best_of,
}


def own_filter(name: str) -> Callable[[Any], Filter]:
    """The filter in a file of its own: the function of the file's name, which takes the option's value."""
    return getattr(import_module(f"r1cli.filters.{name}"), name)
