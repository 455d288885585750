"""What a page is made of, whatever shows it: styled text, in paragraphs and in columns side by side."""

import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Span(NamedTuple):
    """Text in one style: "" plain, bold, dim, good, bad, warn, or how unlikely its tokens were (p50, p10, p01)."""

    text: str
    style: str = ""


class Paragraph(NamedTuple):
    """Spans, which may contain line ends; an empty one is a blank line."""

    spans: tuple[Span, ...] = ()


class Columns(NamedTuple):
    """Stacks of paragraphs beside each other."""

    stacks: tuple[tuple[Paragraph, ...], ...]


Block = Paragraph | Columns
Page = list[Block]

BLANK = Paragraph()
# Tokens of a lower probability than this are marked so.
UNLIKELY = ((0.01, "p01"), (0.1, "p10"), (0.5, "p50"))


def paragraph(*parts: Span | str) -> Paragraph:
    """A paragraph of spans and of plain text."""
    return Paragraph(tuple(part if isinstance(part, Span) else Span(part) for part in parts))


def width(text: str) -> int:
    """Columns that a text takes on a terminal: two for a wide letter, none for a mark upon another."""
    if text.isascii():
        return len(text)
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def fold(spans: Iterable[Span], room: int) -> Iterator[list[Span]]:
    """The lines of a text, none wider than `room` columns: broken at spaces where there are any."""
    line: list[tuple[str, str]] = []
    for text, style in spans:
        parts = text.expandtabs(4).split("\n")
        for number, part in enumerate(parts):
            if number:
                yield from _broken(line, room)
                line = []
            line.extend((letter, style) for letter in part)
    yield from _broken(line, room)


def _broken(line: list[tuple[str, str]], room: int) -> Iterator[list[Span]]:
    start = used = 0
    space = None  # after the last space of this line
    for place, (letter, _) in enumerate(line):
        columns = _columns(letter)
        if used + columns > room and place > start:
            end = place + 1 if letter == " " else place if space is None else space
            yield _joined(line[start:end])
            start, space = end, None
            used = sum(_columns(one) for one, _ in line[start:place])
            if letter == " ":  # it has gone with the line that it ended
                continue
        if letter == " ":
            space = place + 1
        used += columns
    yield _joined(line[start:])


def _joined(letters: list[tuple[str, str]]) -> list[Span]:
    """Letters as spans; spaces at the end of a line would only stand over."""
    while letters and letters[-1] == (" ", ""):
        letters = letters[:-1]
    spans: list[Span] = []
    for letter, style in letters:
        if spans and spans[-1].style == style:
            spans[-1] = Span(spans[-1].text + letter, style)
        else:
            spans.append(Span(letter, style))
    return spans
