"""Panels as text: bars for one curve, lines for several, side by side as far as the width goes.

Works in any terminal: without UTF-8 and without colour the curves are letters. Every axis says its range.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import log2
from typing import NamedTuple

from r1cli.plotting.curves import Curve, Panel, labels_of

BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = " ...::###"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Middle tones of the 256: each can be read on black and on white.
COLOURS = (33, 166, 35, 169, 136, 98, 37, 124)
GAP = 2
LABEL = 8  # columns for the numbers of the axis
NARROW = 38  # columns that a panel needs to stand beside another


class Look(NamedTuple):
    """What the terminal can do, and how large a panel is: columns in all, lines of the curve (None: as suits it)."""

    width: int
    height: int | None
    utf8: bool
    colour: bool


def draw(panels: Sequence[Panel], look: Look, *, aside: bool) -> str:
    """The panels as text, a legend first where there are several curves.

    With `aside` what never changes is one line at the end instead of a panel.
    """
    labels = labels_of(panels)
    flat = [panel for panel in panels if aside and panel.constant()]
    moving = [panel for panel in panels if panel not in flat]
    across = max(1, min(len(moving), (look.width + GAP) // (NARROW + GAP)))
    cell = (look.width + GAP) // across - GAP
    out = [_legend(labels, look)] if len(labels) > 1 else []
    for first in range(0, len(moving), across):
        blocks = [_panel(panel, labels, cell, look) for panel in moving[first : first + across]]
        tallest = max(map(len, blocks))
        for row in range(tallest):
            cells = [block[row] if row < len(block) else ("", "") for block in blocks]
            # Colours take no room: the plain text tells how far a cell must be filled up.
            out.append("".join(painted + " " * (cell + GAP - len(plain)) for plain, painted in cells).rstrip())
        out.append("")
    for panel in flat:
        out.append(f"{panel.title}: {_number(panel.curves[0].points[0].y)} throughout")
    return "\n".join(out).rstrip() + "\n"


def _legend(labels: Sequence[str], look: Look) -> str:
    marks = [f"{_mark(number, look)} {label}" for number, label in enumerate(labels)]
    lines, used = [""], 0
    for number, mark in enumerate(marks):
        if used and used + len(mark) + 3 > look.width:
            lines.append("")
            used = 0
        lines[-1] += ("   " if used else "") + _paint(mark, number, look)
        used += len(mark) + (3 if used else 0)
    return "\n".join(lines) + "\n"


def _mark(number: int, look: Look) -> str:
    return "━━" if look.utf8 and look.colour else LETTERS[number % len(LETTERS)]


def _paint(text: str, number: int, look: Look) -> str:
    return f"\x1b[38;5;{COLOURS[number % len(COLOURS)]}m{text}\x1b[0m" if look.colour else text


def _panel(panel: Panel, labels: Sequence[str], width: int, look: Look) -> list[tuple[str, str]]:
    """The lines of one panel, each without and with its colours."""
    alone = len(labels) == 1
    height = look.height or (6 if alone else 8)
    columns = width - LABEL - 2
    xs = [_scaled(point.x, panel.axis) for curve in panel.curves for point in curve.points]
    left, right = min(xs), max(xs)
    if alone:
        means = _resampled(panel.curves[0], left, right, columns, panel.axis)
        low, high = _bounds([mean for mean in means if mean is not None])
        body = _bars(means, low, high, height, BLOCKS if look.utf8 else PLAIN)
        title = f"{panel.title}: {_number(means[0])} {'→' if look.utf8 else '->'} {_number(means[-1])}"
    else:
        fine = (2, 4) if look.utf8 and look.colour else (1, 1)
        lines = [_resampled(curve, left, right, columns * fine[0], panel.axis) for curve in panel.curves]
        low, high = _bounds([y for line in lines for y in line if y is not None])
        numbers = [labels.index(curve.label) for curve in panel.curves]
        body = _lines(lines, numbers, low, high, (columns, height), fine, look)
        title = panel.title
    axis = "┤" if look.utf8 else "|"
    rows = [(title[:width], title[:width])]
    for row, (plain, painted) in enumerate(body):
        number = _number(high) if row == 0 else _number(low) if row == height - 1 else ""
        rows.append((f"{number:>{LABEL}} {axis}{plain}", f"{number:>{LABEL}} {axis}{painted}"))
    ends = [_number(point) for point in (min(_xs(panel)), max(_xs(panel)))]
    below = ends[0] + f" {panel.axis} {ends[1]}".rjust(columns - len(ends[0]))
    rows.append((" " * (LABEL + 2) + below,) * 2)
    return rows


def _xs(panel: Panel) -> Iterable[float]:
    return (point.x for curve in panel.curves for point in curve.points)


def _scaled(x: float, axis: str) -> float:
    """k doubles from one estimate to the next."""
    return log2(x) if axis == "k" else x


def _bounds(ys: Sequence[float]) -> tuple[float, float]:
    low, high = min(ys), max(ys)
    if low == high:  # all of the height for what is there, none for nothing
        return min(0.0, low), max(0.0, high) or 1.0
    if 0 <= low < high / 2:
        low = 0.0  # an honest axis where it costs little room
    return low, high


def _resampled(curve: Curve, left: float, right: float, columns: int, axis: str) -> list[float | None]:
    """A value for each column: the mean of the points in it, or what lies on the line between its neighbours.

    None before a curve begins and after it ends.
    """
    sums: list[list[float]] = [[] for _ in range(columns)]
    for point in curve.points:
        place = (_scaled(point.x, axis) - left) / (right - left) if right > left else 0.0
        sums[min(columns - 1, int(place * columns))].append(point.y)
    means = [sum(column) / len(column) if column else None for column in sums]
    there = [place for place, mean in enumerate(means) if mean is not None]
    if right == left:
        return [means[0]] * columns
    for before, after in pairwise(there):
        for place in range(before + 1, after):
            share = (place - before) / (after - before)
            means[place] = means[before] * (1 - share) + means[after] * share  # type: ignore[operator]
    return means


def _bars(means: Sequence[float | None], low: float, high: float, height: int, blocks: str) -> list[tuple[str, str]]:
    levels = [0 if mean is None else round((mean - low) / (high - low) * height * 8) for mean in means]
    rows = range(height - 1, -1, -1)
    return [("".join(blocks[max(0, min(8, level - row * 8))] for level in levels),) * 2 for row in rows]


def _lines(
    lines: Sequence[Sequence[float | None]],
    numbers: Sequence[int],
    low: float,
    high: float,
    size: tuple[int, int],
    fine: tuple[int, int],
    look: Look,
) -> list[tuple[str, str]]:
    """Several curves in one field of (columns, rows) cells, each cell of `fine` dots; the later one lies on top."""
    columns, rows = size
    dots: list[list[int]] = [[0] * columns for _ in range(rows)]
    owner: list[list[int | None]] = [[None] * columns for _ in range(rows)]
    for number, line in zip(numbers, lines, strict=True):
        last = None
        for x, y in enumerate(line):
            if y is None:
                last = None
                continue
            top = rows * fine[1] - 1
            here = top - round((y - low) / (high - low) * top)
            # A steep part is drawn without holes, from the dot next to the last one.
            next_to = here if last is None else last + (here > last) - (here < last)
            for at in range(min(here, next_to), max(here, next_to) + 1):
                row, column = at // fine[1], x // fine[0]
                if fine != (1, 1) and owner[row][column] not in (None, number):
                    dots[row][column] = 0
                owner[row][column] = number
                dots[row][column] |= _dot(x % fine[0], at % fine[1])
            last = here
    glyph: Callable[[int, int], str] = (
        (lambda bits, number: chr(0x2800 + bits)) if fine != (1, 1) else (lambda bits, number: _mark(number, look))
    )
    drawn = []
    for bits, owners in zip(dots, owner, strict=True):
        cells = [(glyph(b, o), o) if o is not None else (" ", None) for b, o in zip(bits, owners, strict=True)]
        plain = "".join(cell for cell, _ in cells)
        painted = "".join(cell if o is None else _paint(cell, o, look) for cell, o in cells)
        drawn.append((plain, painted))
    return drawn


def _dot(x: int, y: int) -> int:
    """The bit of a dot in a braille cell of 2 by 4."""
    return (0x01, 0x02, 0x04, 0x40)[y] if x == 0 else (0x08, 0x10, 0x20, 0x80)[y]


def _number(value: float | None) -> str:
    """At most LABEL characters that say a number to three digits or more."""
    if value is None:
        return "-"
    if value == int(value) and abs(value) < 10**7:
        return str(int(value))
    text = f"{value:.4g}"
    return text if len(text) <= LABEL else f"{value:.1e}"
