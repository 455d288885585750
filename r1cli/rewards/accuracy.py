"""The accuracy reward: 1 when the final answer is the record's `answer`, else 0 (DeepSeek-R1, section 2.2).

Exact answers only: numbers, choices, plain words, times, and LaTeX that is spelled the same. The type of the reference
answer decides how the two are compared.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from r1cli.errors import InputError
from r1cli.rewards.choice import read_choice
from r1cli.rewards.extract import completion_of, find_answer, plain_words, was_prefilled
from r1cli.rewards.normalise import Rejected, canonical, normalise
from r1cli.rewards.numbers import Quantity, parse_quantity, read_scalar, same_quantity
from r1cli.rewards.verdict import Options, Verdict, failed

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_CHOICE = r"\(?([A-Z])\)?\.?"
_TIME = r"(?i:([0-9]{1,2}):([0-9]{2})(?: ?([ap])\.? ?m\.?)?)"
_HEDGE = r"\b(?:or|and|between|either)\b|\\pm|\\mp|\\lor|\\sim|[,;]|\.\.|[0-9] ?(?:-|to) ?[0-9]|\\\{"
SHOWN = 200


class Gold(NamedTuple):
    """A reference answer, read once: its kind, spelling and value."""

    kind: str
    text: str
    value: object = None


def score(record: dict, options: Options) -> Verdict:
    """1 or 0 with a reason; failed ("gold_unparseable") when the reference can't be read.

    Reasons: exact, numeric, no_answer, hedged, malformed, too_complex, truncated, different. Raises InputError when
    the record has no `answer` to compare with.
    """
    reference = reference_of(record)
    completion = completion_of(record)
    if record.get("finish") == "length":
        return Verdict(0.0, "truncated")
    found = find_answer(completion, prefilled=was_prefilled(record), lenient=options.lenient)
    if found.answer is None:
        # Read the reference all the same: a record that can't be judged must not depend on what was sampled.
        if read_gold(reference, record.get("task") == "choice") is None:
            return failed("gold_unparseable")
        return Verdict(0.0, found.reason)
    return grade(reference, found.answer, choice=record.get("task") == "choice")


def reference_of(record: dict) -> str:
    """The record's `answer` as text; raises InputError when it is missing or neither text nor a number."""
    answer = record.get("answer")
    if isinstance(answer, str):
        return answer
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        return str(answer)
    found = "is missing" if answer is None else f"is {type(answer).__name__}"
    raise InputError(f'"answer" {found}: --accuracy compares with it, so it must be text or a number')


def grade(reference: str, answer: str, *, choice: bool = False) -> Verdict:
    """Compare one extracted answer with the reference; `choice` forces the rules of multiple choice."""
    shown = {"answer": answer if len(answer) <= SHOWN else answer[:SHOWN] + "..."}
    if _INTEGER.fullmatch(reference) and _INTEGER.fullmatch(answer) and not choice:
        same = int(reference) == int(answer)
        return Verdict(float(same), "exact" if same else "different", extra=shown)
    gold = read_gold(reference, choice)
    if gold is None:
        return failed("gold_unparseable")
    try:
        plain = normalise(answer)
    except Rejected as error:
        return Verdict(0.0, error.reason, extra=shown)
    reason = _COMPARE[gold.kind](gold, plain)
    return Verdict(float(reason in ("exact", "numeric")), reason, extra=shown)


@lru_cache(maxsize=4096)
def read_gold(reference: str, choice: bool) -> Gold | None:
    """The reference with its kind (choice, number, time, words, latex), or None when it can't be read."""
    try:
        text = normalise(reference)
    except Rejected:
        return None
    if not text:
        return None
    letter = re.fullmatch(_CHOICE, text.upper() if choice else text)
    if letter:
        return Gold("choice", text, letter[1])
    if choice:
        letter = read_choice(text)
        return Gold("choice", text, letter) if letter else None
    quantity = parse_quantity(text)
    if quantity is not None:
        return Gold("number", text, quantity)
    if re.fullmatch(_TIME, text):
        return Gold("time", text)
    words = plain_words(text)
    if words and len(words) > 1:
        return Gold("words", text, words)
    return Gold("latex", text, canonical(text))


def _compare_choice(gold: Gold, answer: str) -> str:
    letter = read_choice(answer)
    if letter is None:
        return "hedged" if re.search(_HEDGE, answer) else "different"
    return "exact" if letter == gold.value else "different"


def _compare_number(gold: Gold, answer: str) -> str:
    if answer == gold.text:
        return "exact"
    quantity = read_scalar(answer)
    if quantity is None:
        return "hedged" if re.search(_HEDGE, answer) else "different"
    if not isinstance(gold.value, Quantity) or not same_quantity(gold.value, quantity):
        return "different"
    return "numeric"


def _compare_time(gold: Gold, answer: str) -> str:
    wanted, given = re.fullmatch(_TIME, gold.text), re.fullmatch(_TIME, answer)
    if not wanted or not given or int(wanted[1]) != int(given[1]) or wanted[2] != given[2]:
        return "different"
    halves = {half.lower() for half in (wanted[3], given[3]) if half}
    return "exact" if len(halves) < 2 else "different"


def _compare_words(gold: Gold, answer: str) -> str:
    words = plain_words(answer)
    if words is not None and words == gold.value:
        return "exact"
    return "hedged" if re.search(_HEDGE, answer) and not re.search(_HEDGE, gold.text) else "different"


def _compare_latex(gold: Gold, answer: str) -> str:
    return "exact" if canonical(answer) == gold.value else "different"


_COMPARE = {
    "choice": _compare_choice,
    "number": _compare_number,
    "time": _compare_time,
    "words": _compare_words,
    "latex": _compare_latex,
}
