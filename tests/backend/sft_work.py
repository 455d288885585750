"""What the tests of sft share: examples of the tiny base's task, and what decides how a training goes on."""

import hashlib
import json
import random
from pathlib import Path

NAMES = ("Ann", "Bob", "Cat", "Dan", "Eve", "Fay", "Gus", "Hal")


def sums(count: int, *, seed: int = 1, wrong: bool = False) -> bytes:
    """Lines of questions of the task, answered by a chain of steps, or by another question's answer."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        digits = [draw.randint(0, 9) for _ in range(draw.randint(3, 6))]
        people = list(zip(NAMES, digits, strict=False))
        question = ", ".join(f"{name} {digit}" for name, digit in people) + ". Total?"
        steps = [f"{people[0][0]} {people[0][1]}"]
        steps += [f"{name} {digit} makes {sum(digits[: place + 2])}" for place, (name, digit) in enumerate(people[1:])]
        total = draw.randint(0, 99) if wrong else sum(digits)
        answer = f"<think>{', '.join(steps)}</think><answer>{total}</answer>"
        lines.append(json.dumps({"prompt": question, "completion": answer}) + "\n")
    return "".join(lines).encode()


def weights(run: Path) -> dict[str, str]:
    """Digests of all that a training leaves."""
    return {
        name: hashlib.sha256((run / "latest" / name).read_bytes()).hexdigest()
        for name in ("model.safetensors", "trainer/master.safetensors", "trainer/optimizer.safetensors")
    }


def training(run: Path) -> dict:
    """The last training in the run's committed state."""
    return json.loads((run / "latest/trainer/state.json").read_bytes())["trainings"][-1]
