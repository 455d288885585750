"""How an evaluation was made: what has to be equal for two of them to be compared, read from the judged records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from r1cli import __version__
from r1cli.records import digest

# Counts up when the graders' rules change in a way that changes verdicts.
RULES = 3
SAMPLING = ("seed", "temperature", "top_p", "max_tokens", "template")


def grader_name(*, lenient: bool) -> str:
    """The grader of this program: its version, the number of its rules, and whether it also reads unboxed answers."""
    return f"{__version__}/{RULES}" + (" lenient" if lenient else "")


@dataclass(slots=True)
class Setting:
    """What is known of a task's samples beside their verdicts; a value that they don't share becomes a list."""

    prompts: dict[str, str] = field(default_factory=dict)
    found: dict[str, list[Any]] = field(default_factory=dict)
    steps: set[int] = field(default_factory=set)

    def add(self, item: str, record: dict, reward: str) -> None:
        """Takes one judged record of a question."""
        if item not in self.prompts:
            self.prompts[item] = digest(record.get("messages") or record.get("prompt"))
        for name, value in read_setting(record, reward).items():
            known = self.found.setdefault(name, [])
            if value not in known:
                known.append(value)
        policy = record.get("policy")
        if isinstance(policy, dict) and isinstance(policy.get("step"), int):
            self.steps.add(policy["step"])

    def summary(self) -> dict[str, Any]:
        """seed, temperature, top_p, max_tokens, template, grader (null: the records don't tell), `step` and `prompts`.

        `step` is that of the run, left out for samples of several or of none. `prompts` is a digest of the ids and the
        texts of the questions, in whatever order they came.
        """
        values = {name: known[0] if len(known) == 1 else known for name, known in self.found.items()}
        if len(self.steps) == 1:
            values["step"] = min(self.steps)
        return values | {"prompts": digest(sorted(self.prompts.items()))}

    def mixed(self) -> list[str]:
        """The names of what the samples don't share."""
        return [name for name, known in self.found.items() if len(known) > 1]


def read_setting(record: dict, reward: str) -> dict[str, Any]:
    """How one record was sampled and judged; None for what it doesn't tell."""
    sampling = record.get("sampling")
    sampling = sampling if isinstance(sampling, dict) else {}
    infos = record.get("reward_info")
    info = infos.get(reward) if isinstance(infos, dict) else None
    grader = info.get("grader") if isinstance(info, dict) else None
    return {name: sampling.get(name) for name in SAMPLING} | {"grader": grader}
