"""Pages as text for a terminal, a pager or a pipe; colours and the width of lines as these take them."""

from collections.abc import Iterable
from itertools import zip_longest
from typing import NamedTuple

from r1cli.showing.layout import Columns, Page, Paragraph, Span, fold, width
from r1cli.ui import ascii_only

CODES = {"bold": "1", "dim": "2", "good": "32", "bad": "31", "warn": "33", "p50": "33", "p10": "31", "p01": "1;7;31"}
# What says the same where there are no colours.
MARKS = {"p50": ("[", "]"), "p10": ("[[", "]]"), "p01": ("[[[", "]]]")}
NARROW = 30  # columns below which nothing stands beside anything


class Look(NamedTuple):
    """Whether there are colours; columns (None: lines are left as they are, and columns have 80); more than ASCII."""

    colour: bool
    columns: int | None
    utf8: bool = True


def render(page: Page, look: Look) -> str:
    """A page as text, with a blank line after it."""
    lines: list[str] = []
    for block in page:
        lines += _beside(block, look) if isinstance(block, Columns) else _lines(block, look)
    return "\n".join(lines) + "\n\n"


def _lines(block: Paragraph, look: Look) -> list[str]:
    if look.columns is None:
        return ["".join(_paint(span, look) for span in _marked(block, look))]
    return ["".join(_paint(span, look) for span in line) for line in fold(_marked(block, look), look.columns)]


def _beside(block: Columns, look: Look) -> list[str]:
    count = len(block.stacks)
    room = ((look.columns or 80) + 3) // count - 3
    if room < NARROW:
        stacked = (paragraph for stack in block.stacks for paragraph in (*stack, Paragraph()))
        return [line for paragraph in stacked for line in _lines(paragraph, look)]
    stacks = [[line for paragraph in stack for line in fold(_marked(paragraph, look), room)] for stack in block.stacks]
    rows = []
    for cells in zip_longest(*stacks, fillvalue=[]):
        painted = []
        for cell in cells:
            taken = sum(width(span.text) for span in cell)
            painted.append("".join(_paint(span, look) for span in cell) + " " * (room - taken))
        rows.append(" │ ".join(painted).rstrip())
    return rows


def _marked(block: Paragraph, look: Look) -> Iterable[Span]:
    """The spans with what stands for colours and for letters that can't be shown: before lines are folded."""
    for text, style in block.spans:
        before, after = ("", "") if look.colour else MARKS.get(style, ("", ""))
        yield Span(f"{before}{text if look.utf8 else ascii_only(text)}{after}", style)


def _paint(span: Span, look: Look) -> str:
    if not look.colour or not span.style:
        return span.text
    # A line end inside would carry the style into what a pager shows beside it.
    return "\n".join(f"\x1b[{CODES[span.style]}m{line}\x1b[0m" if line else "" for line in span.text.split("\n"))
