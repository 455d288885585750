"""All filters that were asked for, in their order, over a stream of records.

It decides and counts; reading, writing and marking are the command's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from r1cli.errors import InputError
from r1cli.filters import GROUP_RULES, RECORD_FILTERS, REMEMBERING, own_filter
from r1cli.filters.fields import Filter, prompt_key
from r1cli.filters.held import Held
from r1cli.filters.samples import GroupRule
from r1cli.filters.settings import Settings, flag
from r1cli.records import Record

EARLIER = "dropped_earlier"


class Examined(NamedTuple):
    """What the filters found out about one record.

    `reason` to drop it (None: kept so far; EARLIER: it came with a mark), the `key` of its prompt or group, the `size`
    of the group where it says so, and a number for each group rule.
    """

    reason: str | None
    key: str = ""
    size: int | None = None
    values: Sequence[float] = ()


class Pipeline:
    """Filters as settings ask for them; raises InputError when they ask for none, or for one that is not installed."""

    def __init__(self, settings: Settings, note: Callable[[str], None]):
        self.note = note
        asked = [(name, make) for name, make in RECORD_FILTERS.items() if settings.given(name)]
        self.filters: list[Filter] = [make(settings) for name, make in asked if name not in REMEMBERING]
        self.filters += [own_filter(name)(value) for name, value in settings.others]
        self.filters += [make(settings) for name, make in asked if name in REMEMBERING]
        names = [name for name in GROUP_RULES if settings.given(name)]
        # --best-of chooses per_prompt many; the first ones need no choice unless other rules wait for the samples.
        self.per_prompt = settings.per_prompt or (1 if settings.best_of == "first" else None)
        if names == ["best_of"] and settings.best_of == "first":
            names = []
        elif names and self.per_prompt and "best_of" not in names:
            names.append("best_of")
        self.rules: list[GroupRule] = [GROUP_RULES[name](settings) for name in names]
        if not self.filters and not self.rules and self.per_prompt is None:
            some = ", ".join(flag(name) for name in ("correct", "min_reward", "dedupe", "decontaminate", "best_of"))
            raise InputError(f"nothing to filter by: name at least one filter, such as {some}")
        self.by_prompt = self.per_prompt is not None and not self.rules
        self.whole = settings.whole_input
        self.taken: Counter[str] = Counter()
        self.prompts: set[int] = set()
        self.groups: set[int] = set()
        if self.whole and self.rules:
            note("holding the input to its end, as --whole-input asks")

    def examine(self, record: Record) -> Examined:
        """Asks everything that one record can answer; raises InputError, without the place, for what it lacks.

        What remembers texts comes last, so that a bad record does not make a good one a duplicate.
        """
        key, size = "", None
        values: Sequence[float] = ()
        if self.rules:
            key, size = self._group(record)
            values = [rule.measure(record) for rule in self.rules]
        elif self.by_prompt:
            key = prompt_key(record)
        if record.get("dropped"):
            return Examined(EARLIER, key, size, values)
        reason = next(filter(None, (check(record) for check in self.filters)), None)
        return Examined(reason, key, size, values)

    def run(self, lines: Iterable[tuple[bytes, Examined]]) -> Iterator[tuple[bytes, str | None]]:
        """Yields every line with the reason to drop it, or None, in the order of the input."""
        if not self.rules:
            for raw, found in lines:
                reason = found.reason
                if self.by_prompt and reason is None:
                    reason = self._take(found.key)
                yield raw, reason
            return
        held, holding = Held(self.rules, self.note), self.whole
        for raw, found in lines:
            if found.size is None and not holding:
                holding = True
                self.note("holding the input to its end: its records have no group.size to tell when a prompt is done")
            if held.add(found.key, found.size, raw, found.reason, found.values):
                yield from held.leaving()
        cut = held.close_all()
        yield from held.leaving()
        if cut and not holding:
            self.note(f"{cut} groups lack samples, and were judged by those that came")
        if (again := len(self.groups) - len(self.prompts)) > 0:
            self.note(f"{again} groups ask a prompt again, and were judged apart (--whole-input takes them together)")

    def _take(self, key: str) -> str | None:
        self.taken[key] += 1
        return "surplus" if self.taken[key] > (self.per_prompt or 1) else None

    def _group(self, record: Record) -> tuple[str, int | None]:
        """The key of a record's group and the group's size, or its prompt's key and None."""
        group = record.get("group")
        if self.whole or not isinstance(group, dict):
            return prompt_key(record), None
        name, size = group.get("id"), group.get("size")
        if not isinstance(name, str) or type(size) is not int or size < 1:
            raise InputError('"group" must have an "id" (a string) and a "size" (a whole number above 0)')
        asked = record.get("id")
        self.prompts.add(hash(asked if isinstance(asked, str) else name))
        self.groups.add(hash(name))
        return name, size
