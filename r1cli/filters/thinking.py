"""Filters on how a completion is written: its language, its paragraphs, code in the thought, repetition.

DeepSeek-R1 (section 2.3.3) drops chains of thought with mixed languages, long paragraphs and code blocks from what
rejection sampling gathers; the thresholds are not printed there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from r1cli.filters.fields import Filter, completion
from r1cli.records import Record
from r1cli.rewards.extract import split_thinking, was_prefilled
from r1cli.rewards.ngrams import repeated_share

if TYPE_CHECKING:
    from r1cli.filters.settings import Settings

_BLANK_LINE = r"\n[ \t\r]*\n"


def language_min(settings: Settings) -> Filter:
    """Drops thoughts with a lower share of words in the target language.

    A share that r1 reward --language left in the record is used, unless a language is named here; otherwise scripts
    decide. What has no thought, or one of a few words, says nothing about its language and stays.
    """
    from r1cli.rewards.language import score
    from r1cli.rewards.verdict import Options

    least, named = settings.value("language_min"), settings.language not in (None, "auto")
    options = Options(language=settings.language or "auto")

    def check(record: Record) -> str | None:
        completion(record)
        share = None if named else _judged_share(record)
        if share is None:
            share = score(record, options).value
        return None if share is None or share >= least else "language"

    return check


def max_paragraph_chars(settings: Settings) -> Filter:
    """Drops thoughts with a longer paragraph; a paragraph ends at a blank line."""
    most = settings.value("max_paragraph_chars")

    def check(record: Record) -> str | None:
        text = _thinking(record)
        text = completion(record) if text is None else text
        long = len(text) > most and any(len(part.strip()) > most for part in re.split(_BLANK_LINE, text))
        return "long_paragraph" if long else None

    return check


def no_code_in_think(_: Settings) -> Filter:
    """Drops thoughts with a fenced code block."""

    def check(record: Record) -> str | None:
        text = _thinking(record) or ""
        return "code_in_thinking" if "```" in text or "\n~~~" in text else None

    return check


def max_repeat(settings: Settings) -> Filter:
    """Drops completions of whose runs of four words a larger share had come before."""
    most = settings.value("max_repeat")

    def check(record: Record) -> str | None:
        return "repetition" if repeated_share(completion(record)) > most else None

    return check


def _thinking(record: Record) -> str | None:
    return split_thinking(completion(record), was_prefilled(record)).thinking


def _judged_share(record: Record) -> float | None:
    rewards = record.get("rewards")
    share = rewards.get("language") if isinstance(rewards, dict) else None
    return share if isinstance(share, int | float) and not isinstance(share, bool) else None
