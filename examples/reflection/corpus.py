"""The text that the searcher's base is pretrained on: guesses, and searches that mostly end too early.

Every expression, whether blurted out or tried in a thought, comes from the same proposer, which draws at random among
the ways to combine the numbers and prefers those that come near the target. So an answer after one unchecked try is as
good as a guess, and a search is better only by its checks and by going on. Most thoughts do neither: they stop after
a try that nobody checked, or give up after a No and guess.
"""

import random
from dataclasses import dataclass

from r1cli.prompts.templates import R1_ZERO
from r1cli.tiny.corpus import PLAIN
from reflection.questions import LARGEST, Way, compute, draw, question, ways

CORPUS_VERSION = 1
# A check says first what is wanted: a model this small can compare two numbers only where they stand side by side.
WANT, YES, NO, WAIT, GIVE_UP = ", want ", ". Yes", ". No", ". Wait, ", ". I give up"


@dataclass(slots=True, frozen=True)
class Mix:
    """Shares and rates of the corpus; shares within one tuple are relative weights."""

    template: float = 0.5  # documents in the R1-Zero template, the others are plain questions
    modes: tuple[float, ...] = (0.20, 0.50, 0.30)  # plain arithmetic, a guess, a search
    near: int = 7  # the proposer takes ways that end so near the target ...
    far: float = 0.1  # ... for others so many times as rarely; it never knows which one is right
    checked: float = 0.8  # tries whose value is held against the target
    persistence: float = 0.65  # tries found wrong that are followed by another one
    step_error: float = 0.01  # operations whose value is written down wrong
    # clean, no think tags, no </think>, no <answer>, plain text
    containers: tuple[float, ...] = (0.55, 0.10, 0.10, 0.10, 0.15)


def propose(rng: random.Random, candidates: list[Way], target: int, mix: Mix) -> Way:
    """A way that was not tried yet, by preference one that comes near the target; it is taken off the candidates."""
    weights = [1.0 if abs(way.value - target) <= mix.near else mix.far for way in candidates]
    (place,) = rng.choices(range(len(candidates)), weights)
    return candidates.pop(place)


def noted(rng: random.Random, value: int, mix: Mix) -> int:
    """The value as it is written down, which is now and then wrong."""
    if rng.random() < mix.step_error:
        return min(LARGEST, max(0, value + rng.choice((-10, -2, -1, 1, 2, 10))))
    return value


def attempt(rng: random.Random, way: Way, mix: Mix) -> tuple[str, int]:
    """One try as text, and the value that it arrives at by what is written down."""
    middle = noted(rng, way.middle, mix)
    left, sign, right = way.second
    left, right = (middle, right) if way.nested_left else (left, middle)
    value = compute(left, sign, right)
    value = noted(rng, way.value if value is None else value, mix)
    return "{}{}{}={}, {}{}{}={}".format(*way.first, middle, left, sign, right, value), value


def search(rng: random.Random, numbers: list[int], target: int, mix: Mix) -> tuple[str, str]:
    """A thought, and the expression that it ends with, right or not."""
    candidates = list(ways(tuple(sorted(numbers))))
    text = ""
    while True:
        way = propose(rng, candidates, target, mix)
        tried, value = attempt(rng, way, mix)
        text += tried
        if rng.random() >= mix.checked:
            return text, way.expression
        text += f"{WANT}{target}"
        if value == target:
            return text + YES, way.expression
        text += NO
        if not candidates or rng.random() >= mix.persistence:
            return text + GIVE_UP, propose(rng, candidates or [way], target, mix).expression
        text += WAIT


def contain(rng: random.Random, text: str, answer: str, mix: Mix) -> str:
    """Puts a thought (may be empty) and its answer into tags, often into broken ones."""
    (form,) = rng.choices(range(5), mix.containers)
    if not text:
        return (f"<answer>{answer}</answer>", answer)[form > 2]
    return (
        f"<think>{text}</think><answer>{answer}</answer>",
        f"{text}<answer>{answer}</answer>",
        f"<think>{text}<answer>{answer}</answer>",
        f"<think>{text}</think>{answer}",
        f"{text}. The answer is {answer}",
    )[form]


def drill(rng: random.Random) -> str:
    """A line of plain arithmetic, of the kind that searches are made of."""
    parts = []
    for _ in range(5):
        way = rng.choice(ways(tuple(sorted(draw(rng, "train")[0]))))
        parts.append("{}{}{}={}".format(*rng.choice(((*way.first, way.middle), (*way.second, way.value)))))
    return ", ".join(parts)


def document(rng: random.Random, mix: Mix) -> str:
    """One document, without the end token."""
    (mode,) = rng.choices(("drill", "guess", "search"), mix.modes)
    if mode == "drill":
        return drill(rng)
    numbers, target = draw(rng, "train")
    frame = R1_ZERO if rng.random() < mix.template else PLAIN
    if mode == "guess":
        text, answer = "", propose(rng, list(ways(tuple(sorted(numbers)))), target, mix).expression
    else:
        text, answer = search(rng, numbers, target, mix)
    return frame.format(prompt=question(numbers, target)) + contain(rng, text, answer, mix)
