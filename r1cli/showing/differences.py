"""What differs between two streams: the same samples judged anew, or the same questions answered by two policies.

Records are the same by their `id` and place in their group, metrics by their `step`. Streams in the same order are read
side by side; only what is out of order is held.
"""

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

from r1cli.showing import pages
from r1cli.showing.layout import BLANK, Columns, Page, Paragraph, Span, paragraph
from r1cli.showing.pages import Record


class Tally:
    """How the two streams compare, counted on the way."""

    def __init__(self) -> None:
        self.same = self.differ = self.better = self.worse = self.only_a = self.only_b = 0

    def line(self) -> str:
        """The line that closes a comparison."""
        told = f"{self.same} the same, {self.differ} differ"
        if self.better or self.worse:
            told += f" ({self.better} with a higher reward, {self.worse} with a lower)"
        for name, count in (("first", self.only_a), ("second", self.only_b)):
            told += f", {count} in the {name} only" if count else ""
        return told


class Pair(NamedTuple):
    """A record of the first stream and the one of the second that it is compared with; None where there is none."""

    a: Record | None
    b: Record | None


def key(record: Record, counts: dict[Any, int]) -> Any:
    """What tells a record from the others of its stream; of several alike, which it is."""
    group = record.get("group")
    index = group.get("index") if isinstance(group, dict) else None
    name = record.get("id", record.get("step", record.get("task")))
    alike = str((name, index))
    counts[alike] = counts.get(alike, 0) + 1
    return alike, counts[alike]


def pairs(a: Iterable[Record], b: Iterable[Record]) -> Iterator[Pair]:
    """Records that belong together, as soon as both are there; then those that are in one stream only."""
    waiting: tuple[dict[Any, Record], dict[Any, Record]] = ({}, {})
    counts: tuple[dict[Any, int], dict[Any, int]] = ({}, {})
    for both in zip_longest(a, b):
        for side, record in enumerate(both):
            if record is None:
                continue
            name = key(record, counts[side])
            other = waiting[1 - side].pop(name, None)
            if other is None:
                waiting[side][name] = record
            else:
                yield Pair(other, record) if side else Pair(record, other)
    yield from (Pair(record, None) for record in waiting[0].values())
    yield from (Pair(None, record) for record in waiting[1].values())


def compared(found: Iterable[Pair], tally: Tally, names: tuple[str, str]) -> Iterator[Page]:
    """A page for each pair that differs; the others are only counted."""
    for a, b in found:
        if a is None or b is None:
            tally.only_a += b is None
            tally.only_b += a is None
            continue
        changed = _changed(a, b)
        if not changed:
            tally.same += 1
            continue
        tally.differ += 1
        before, after = a.get("reward"), b.get("reward")
        if isinstance(before, int | float) and isinstance(after, int | float):
            tally.better += after > before
            tally.worse += after < before
        yield _page(a, b, changed, names)


def _changed(a: Record, b: Record) -> list[str]:
    """The keys whose values differ. The names of groups and batches, and times, differ between any two draws."""
    ignored = {"group", "batch", "reward_info", "seconds", "completion_ids", "logprobs", "prompt_ids"}
    return [name for name in dict.fromkeys((*a, *b)) if name not in ignored and a.get(name) != b.get(name)]


def _page(a: Record, b: Record, changed: list[str], names: tuple[str, str]) -> Page:
    if not all(isinstance(record.get("completion"), str) for record in (a, b)):
        title = a.get("id", f"step {a['step']}" if "step" in a else a.get("task", "?"))
        lines = [_change(name, a.get(name), b.get(name)) for name in changed]
        return [paragraph(Span(pages.ruled([title]), "bold")), *lines]
    blocks: Page = [paragraph(Span(pages.headline(b), "bold")), pages.asked(a)]
    if {"prompt", "messages"} & set(changed):
        blocks.append(_change("question", pages.question(a), pages.question(b)))
    if "answer" in a:
        blocks.append(pages.expected(a))
    if a["completion"] == b["completion"]:
        both = ((name, pages.verdicts(record)) for name, record in zip(names, (a, b), strict=True))
        verdicts = [Paragraph((Span(f"{name}  ", "bold"), *verdict)) for name, verdict in both]
        return [*blocks, *verdicts, BLANK, Paragraph(pages.completion(a))]
    alike = _alike(pages.whole_answer(a), pages.whole_answer(b))
    stacks = []
    for name, record in zip(names, (a, b), strict=True):
        head = paragraph(Span(pages.text(" · ".join([name, *pages.about(record)])), "bold"))
        whole = pages.whole_answer(record)
        body = paragraph(Span(pages.text(whole[:alike]), "dim"), pages.text(whole[alike:]))
        stacks.append((head, Paragraph(pages.verdicts(record)), BLANK, body))
    return [*blocks, BLANK, Columns(tuple(stacks))]


def _change(name: str, before: Any, after: Any) -> Paragraph:
    return paragraph(
        Span(pages.text(name), "bold"), ": ", Span(pages.text(before), "bad"), " → ", Span(pages.text(after), "good")
    )


def _alike(a: str, b: str) -> int:
    """How many letters two texts begin with alike."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[:middle] == b[:middle] else (low, middle - 1)
    return low
