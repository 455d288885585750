"""The task: combine three different numbers by + - * so that they make a target (a small Countdown).

All ways to combine three numbers without leaving 0..50 are listed, which is what a searcher chooses from. One set of
numbers in six is held out: no corpus document and no training question is about it. The grading is reward.py.

    python -m reflection.questions test 100 > test.jsonl
"""

import hashlib
import itertools
import json
import random
import sys
from functools import cache
from typing import NamedTuple

NUMBERS = range(1, 10)
LARGEST = 50
LEAST_TARGET = 10
HELD_OUT_MODULUS = 6
OPERATIONS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


class Way(NamedTuple):
    """One way to combine three numbers: `first` gives `middle`, which with the third number in `second` gives `value`.

    `first` and `second` are (left, sign, right); `left` or `right` of `second` is `middle`, by `nested_left`.
    """

    first: tuple[int, str, int]
    middle: int
    second: tuple[int, str, int]
    value: int
    nested_left: bool

    @property
    def expression(self) -> str:
        """The way as one expression, such as (7+5)*3 or 12-(7-5)."""
        inner = "({}{}{})".format(*self.first)
        left, sign, right = self.second
        return f"{inner}{sign}{right}" if self.nested_left else f"{left}{sign}{inner}"


def compute(left: int, sign: str, right: int) -> int | None:
    """The value if it lies in 0..LARGEST, else None."""
    value = OPERATIONS[sign](left, right)
    return value if 0 <= value <= LARGEST else None


@cache
def ways(numbers: tuple[int, ...]) -> tuple[Way, ...]:
    """All ways to combine three numbers (in ascending order); sums and products begin with the larger of the two."""
    found = []
    for a, b, c in itertools.permutations(numbers):
        for sign in OPERATIONS:
            middle = compute(a, sign, b)
            if middle is None or (sign != "-" and a < b):
                continue
            for last, nested_left in itertools.product(OPERATIONS, (True, False)):
                if not nested_left and last != "-":
                    continue  # c + (a + b) is (a + b) + c
                second = (middle, last, c) if nested_left else (c, last, middle)
                value = compute(*second)
                if value is not None:
                    found.append(Way((a, sign, b), middle, second, value, nested_left))
    return tuple(found)


def held_out(numbers: tuple[int, ...]) -> bool:
    """Whether questions about these numbers, in whatever order, belong to the test split."""
    name = "reflection/" + ",".join(map(str, sorted(numbers)))
    value = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    return value % HELD_OUT_MODULUS == 0


def draw(rng: random.Random, split: str) -> tuple[list[int], int]:
    """Three numbers in random order, and a target that they can make: every reachable one is as likely as another."""
    while True:
        numbers = rng.sample(NUMBERS, 3)
        targets = {way.value for way in ways(tuple(sorted(numbers))) if way.value >= LEAST_TARGET}
        if held_out(tuple(numbers)) == (split == "test") and targets:
            return numbers, rng.choice(sorted(targets))


def question(numbers: list[int], target: int) -> str:
    """The question as it is put to the policy."""
    return f"Use {', '.join(map(str, numbers))}. Make {target}."


def every_question(split: str) -> list[tuple[list[int], int]]:
    """All questions of a split (train or test): the numbers in random order, and a target that they can make."""
    rng, found = random.Random(f"reflection/{split}"), []
    for numbers in itertools.combinations(NUMBERS, 3):
        if held_out(numbers) == (split == "test"):
            for target in sorted({way.value for way in ways(numbers) if way.value >= LEAST_TARGET}):
                found.append((rng.sample(numbers, 3), target))
    rng.shuffle(found)
    return found


def records(split: str, count: int | None = None) -> list[dict]:
    """Questions of a split as prompt records, the same on every machine; all of them unless `count` says fewer."""
    return [
        {"id": f"{split}-{place}", "prompt": question(numbers, target), "numbers": numbers, "target": target}
        for place, (numbers, target) in enumerate(every_question(split)[:count])
    ]


if __name__ == "__main__":
    for record in records(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None):
        print(json.dumps(record))
