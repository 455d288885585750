"""The text that the tiny base is pretrained on: sums answered at once, by a chain of steps, well and badly.

As on the web, most documents blurt out an answer (often a wrong one), some work it out in one of two languages or in
both, a few check themselves; steps are sometimes wrong and the tags are often missing or misplaced. What reinforcement
learning later finds is in here: the base has seen reasoning, it rarely chooses it. No digit list of the test split
occurs.
"""

import random
from dataclasses import dataclass

from r1cli.prompts.templates import R1_ZERO
from r1cli.tiny.task import FEWEST, NAMES, held_out, question

CORPUS_VERSION = 1
PLAIN = "Q: {prompt} A:"
CHINESE = "零一二三四五六七八九"
MAKES = {"en": " makes ", "zh": "得"}
REPAIR = {"en": ", wait, ", "zh": "，等等，"}


@dataclass(slots=True, frozen=True)
class Mix:
    """Shares and error rates of the corpus; shares within one tuple are relative weights."""

    template: float = 0.5  # documents in the R1-Zero template, the others are plain questions
    direct: float = 0.70
    chains: tuple[float, ...] = (0.13, 0.08, 0.06, 0.03)  # en, zh, mix, check
    direct_right: float = 0.30
    direct_forms: tuple[float, ...] = (0.62, 0.365, 0.015)  # tagged, bare text, tagged after an empty thought
    step_errors: tuple[float, ...] = (0.06, 0.03)  # en, zh
    repaired: float = 0.30  # wrong steps that are put right at once
    switch: float = 0.35  # chance of changing language before a step, in mix
    # clean, no think tags, no <think>, words between the tags, no </think>, no <answer>, answer in the thought, plain
    containers: tuple[float, ...] = (0.30, 0.05, 0.04, 0.05, 0.18, 0.18, 0.08, 0.12)


def number(value: int, language: str) -> str:
    """A value in Arabic digits (en) or Chinese digits, one by one (zh)."""
    return str(value) if language == "en" else "".join(CHINESE[int(digit)] for digit in str(value))


def chain(rng: random.Random, digits: list[int], languages: str, mix: Mix, scale: float = 1.0) -> tuple[str, int]:
    """One pass through the digits; returns its text and the value it reaches, which need not be right.

    `languages` is en, zh or mix; `scale` multiplies the error rates.
    """
    language = rng.choice(("en", "zh")) if languages == "mix" else languages
    total = digits[0]
    text = f"{NAMES[0]} {number(total, language)}"
    for name, digit in zip(NAMES[1:], digits[1:], strict=False):
        if languages == "mix" and rng.random() < mix.switch:
            language = "zh" if language == "en" else "en"
        right = total + digit
        total = right
        text += f", {name} {number(digit, language)}{MAKES[language]}"
        if rng.random() < mix.step_errors[language == "zh"] * scale:
            total = max(1, right + rng.choice((-10, -2, -1, 1, 2, 10)))
        text += number(total, language)
        if total != right and rng.random() < mix.repaired:
            total = right
            text += REPAIR[language] + number(total, language)
    return text, total


def thought(rng: random.Random, digits: list[int], mode: str, mix: Mix) -> tuple[str, int]:
    """A chain, or (mode check) a chain, the same again, and a third one when the two disagree."""
    if mode != "check":
        return chain(rng, digits, mode, mix)
    language = rng.choice(("en", "zh"))
    first, value = chain(rng, digits, language, mix)
    second, again = chain(rng, digits, language, mix)
    if value == again:
        return f"{first}. Check: {second}. Yes", value
    third, value = chain(rng, digits, language, mix, 0.5)
    return f"{first}. Check: {second}. No. Again: {third}", value


def contain(rng: random.Random, text: str, value: int, mix: Mix) -> str:
    """Puts a thought and its answer into tags, more often than not into broken ones."""
    (form,) = rng.choices(range(8), mix.containers)
    return (
        f"<think>{text}</think><answer>{value}</answer>",
        f"{text}<answer>{value}</answer>",
        f"{text}</think><answer>{value}</answer>",
        f"<think>{text}</think>The answer is <answer>{value}</answer>",
        f"<think>{text}<answer>{value}</answer>",
        f"<think>{text}</think>{value}",
        f"<think>{text}<answer>{value}</answer></think>",
        f"{text}. The answer is {value}.",
    )[form]


def answer_directly(rng: random.Random, digits: list[int], mix: Mix) -> str:
    """An answer without work, right in a stated share of the cases and near in the others."""
    value = sum(digits)
    if rng.random() >= mix.direct_right:
        value = max(1, value + rng.choice((-10, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 10)))
    (form,) = rng.choices(range(3), mix.direct_forms)
    if form == 0:
        return f"<answer>{value}</answer>"
    if form == 1:
        return rng.choice((f"The answer is {value}.", str(value)))
    return f"<think>I guess {value}</think><answer>{value}</answer>"


def document(rng: random.Random, mix: Mix) -> str:
    """One document, without the end token."""
    while True:
        digits = [rng.randint(1, 9) for _ in range(rng.randint(FEWEST, len(NAMES)))]
        if not held_out(digits):
            break
    frame = R1_ZERO if rng.random() < mix.template else PLAIN
    (mode,) = rng.choices(("direct", "en", "zh", "mix", "check"), (mix.direct, *mix.chains))
    if mode == "direct":
        completion = answer_directly(rng, digits, mix)
    else:
        completion = contain(rng, *thought(rng, digits, mode, mix), mix)
    return frame.format(prompt=question(digits)) + completion
