"""The `sum` task: several people hold small numbers, what is the total?

Questions are drawn by random access, so that any batch can be drawn again without state. One digit list in ten is held
out by a hash of its digits: the training split never shows it, the test split shows nothing else. No torch here, and no
grading.
"""

import hashlib

NAMES = ("Ann", "Bob", "Cat", "Dan", "Eve", "Fay", "Gus", "Hal")
FEWEST = 3
SPLITS = ("train", "test")
HELD_OUT_MODULUS = 10
HELD_OUT_RESIDUE = 3


def question(digits: list[int]) -> str:
    """The question for 3 to 8 digits: `Ann 7, Bob 5, Cat 8. Total?`"""
    return ", ".join(f"{name} {digit}" for name, digit in zip(NAMES, digits, strict=False)) + ". Total?"


def held_out(digits: list[int]) -> bool:
    """Whether this digit list belongs to the test split (a polynomial hash, so that order counts)."""
    value = 7
    for digit in digits:
        value = (31 * value + digit) % 1000003
    return value % HELD_OUT_MODULUS == HELD_OUT_RESIDUE


def draw(seed: int, index: int, split: str) -> list[int]:
    """The digits, 1 to 9 each, of question `index` of a split: 3 to 8 of them, every length as likely as another.

    Raises ValueError for an unknown split. The same arguments give the same digits on every machine.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; expected one of {', '.join(SPLITS)}")
    for attempt in range(10_000):
        name = f"sum/{seed}/{split}/{index}/{attempt}"
        value = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "big")
        # The length is fixed by the first attempt: redrawing it would favour lengths with more held-out lists.
        if attempt == 0:
            length = FEWEST + value % (len(NAMES) - FEWEST + 1)
        value //= len(NAMES) - FEWEST + 1
        digits = []
        for _ in range(length):
            value, digit = divmod(value, 9)
            digits.append(digit + 1)
        if held_out(digits) == (split == "test"):
            return digits
    raise AssertionError("one digit list in ten is held out, yet 10000 draws found none of the split")


def problem(seed: int, index: int, split: str) -> dict:
    """Question `index` of a split as a prompt record: id, prompt, answer, task.

    The id carries the index, because two draws can be the same question (there are few lists of three digits).
    """
    digits = draw(seed, index, split)
    return {"id": f"sum-{split}-{seed}-{index}", "prompt": question(digits), "answer": str(sum(digits)), "task": "sum"}
