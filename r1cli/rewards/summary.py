"""The closing line of r1 reward: what the rewards were, and what looks wrong about them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any


class Summary:
    """Counts verdicts as they pass."""

    def __init__(self, names: list[str]):
        self.names = names
        self.count = self.nulls = self.bad = 0
        self.total = 0.0
        self.sums: Counter[str] = Counter()
        self.judged: Counter[str] = Counter()
        self.groups: dict[str, tuple[int, float, float]] = {}

    def add(self, record: dict[str, Any], verdict: dict[str, Any]) -> None:
        """Takes one judged record."""
        self.count += 1
        reward = verdict["reward"]
        if reward is None:
            self.nulls += 1
        else:
            self.total += reward
        for name, value in verdict["rewards"].items():
            if value is not None:
                self.sums[name] += value
                self.judged[name] += 1
        group = record.get("group")
        if isinstance(group, dict) and reward is not None:
            size, low, high = self.groups.get(group.get("id", ""), (0, reward, reward))
            self.groups[group.get("id", "")] = (size + 1, min(low, reward), max(high, reward))

    def line(self) -> str:
        """One line: how many records, the means, what is null, how many groups teach nothing."""
        valid = self.count - self.nulls
        parts = [f"{self.count} records", f"mean reward {self.total / valid:.3f}" if valid else "no reward"]
        parts += [f"{name} {self.sums[name] / self.judged[name]:.3f}" for name in self.names if self.judged[name]]
        if self.nulls:
            parts.append(f"{self.nulls} null")
        if self.groups:
            flat = sum(low == high for _, low, high in self.groups.values())
            parts.append(f"{flat} of {len(self.groups)} groups without variance")
        return ", ".join(parts)

    def warnings(self) -> Iterator[str]:
        """What looks wrong: records passed over, and a reward that never applied."""
        if self.bad:
            yield f"skipped {self.bad} records that could not be judged"
        for name in self.names:
            if self.count and not self.judged[name]:
                yield f"{name} applied to none of the {self.count} records"
