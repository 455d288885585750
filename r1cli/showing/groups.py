"""Groups of samples of one question: how they were judged, and the best beside the worst."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from statistics import fmean, pstdev
from typing import Any

from r1cli.records import completion_tokens
from r1cli.showing import pages
from r1cli.showing.layout import BLANK, Columns, Page, Paragraph, Span, paragraph
from r1cli.showing.pages import Record

Spans = Callable[[Record], tuple[Span, ...]]


def groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    """The groups of a stream, each as soon as it is complete; those with samples missing at the end."""
    waiting: dict[Any, list[Record]] = {}
    for record in records:
        group = record.get("group")
        group = group if isinstance(group, dict) else {}
        name = str(group.get("id", record.get("id")))
        found = waiting.setdefault(name, [])
        found.append(record)
        if len(found) == group.get("size"):
            yield waiting.pop(name)
    yield from waiting.values()


def page(group: list[Record], spans: Spans | None = None) -> Page:
    """A group's page: question, rewards, lengths, and two of its samples."""
    first = group[0]
    size = first["group"].get("size") if isinstance(first.get("group"), dict) else None
    count = f"{len(group)} samples" if size in (None, len(group)) else f"{len(group)} of {size} samples"
    blocks: Page = [paragraph(Span(pages.ruled([first.get("id", "?"), count, *pages.about(first)[:1]]), "bold"))]
    blocks.append(Paragraph(_spread(group)))
    blocks += [pages.asked(first)]
    if "answer" in first:
        blocks.append(pages.expected(first))
    names, chosen = _ends(group)
    stacks = []
    for name, record in zip(names, chosen, strict=True):
        tokens = completion_tokens(record)
        told = [f"sample {pages.sample_number(record)}"] + ([f"{tokens} tokens"] if tokens is not None else [])
        head = paragraph(Span(pages.text(f"{name}: {' · '.join(told)}"), "bold"))
        stacks.append((head, Paragraph(pages.verdicts(record)), BLANK, Paragraph((spans or pages.completion)(record))))
    return [*blocks, BLANK, Columns(tuple(stacks))]


def _spread(group: list[Record]) -> tuple[Span, ...]:
    """How often which reward was given, their mean and deviation, and the range of lengths."""
    rewards = [_reward(record) for record in group]
    given = [reward for reward in rewards if reward is not None]
    parts = []
    if given:
        counted = sorted(Counter(given).items(), reverse=True)
        shown = [f"{pages.number(value)} x{times}" for value, times in counted[:6]]
        more = f", {len(counted) - 6} others" if len(counted) > 6 else ""
        parts.append(f"rewards {', '.join(shown)}{more}  mean {fmean(given):.3g}, sd {pstdev(given):.3g}")
        if len(counted) == 1 and len(given) > 1:
            parts.append("all the same: no gradient")
    judged = any("reward" in record for record in group)
    if judged and len(given) < len(group):
        parts.append(f"{len(group) - len(given)} without a verdict")
    if dropped := sum(bool(record.get("dropped")) for record in group):
        parts.append(f"{dropped} dropped")
    lengths = [tokens for record in group if (tokens := completion_tokens(record)) is not None]
    if lengths:
        parts.append(f"{min(lengths)} to {max(lengths)} tokens")
    return (Span("  ".join(parts)),)


def _ends(group: list[Record]) -> tuple[tuple[str, ...], list[Record]]:
    """The best and the worst; where all are alike, the shortest and the longest; one sample alone."""
    judged = [record for record in group if _reward(record) is not None] or group
    if len(judged) == 1:
        return ("only one",), judged
    ordered = sorted(judged, key=_length)
    if len({_reward(record) for record in judged}) == 1:
        return ("shortest", "longest"), [ordered[0], ordered[-1]]
    # Of the best the shortest, of the worst the longest: sorting keeps the order of lengths.
    ordered.sort(key=lambda record: -(_reward(record) or 0))
    return ("best", "worst"), [ordered[0], ordered[-1]]


def _reward(record: Record) -> float | None:
    reward = record.get("reward")
    return reward if isinstance(reward, int | float) else None


def _length(record: Record) -> int:
    tokens = completion_tokens(record)
    return len(str(record.get("completion"))) if tokens is None else tokens
