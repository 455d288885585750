"""Line charts as SVG text, a few kilobytes each and the same bytes for the same numbers. No axes but linear ones."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 300, 52, 176, 34, 40
COLOURS = ("#1b6ca8", "#d1495b", "#2e933c", "#8d6a9f", "#c98b0b")
Line = Sequence[tuple[float, float]]


def smoothed(values: Sequence[float], width: int = 5) -> list[float]:
    """The mean of each value and of the width - 1 before it, as far as there are any."""
    return [sum(values[max(0, i - width + 1) : i + 1]) / min(width, i + 1) for i in range(len(values))]


def chart(title: str, across: str, series: dict[str, list[Line]], *, top: float | None = None) -> str:
    """A chart of named series; the first line of a series is drawn strongly, the others thinly in its colour.

    `top` is the upper end of the vertical axis, which begins at 0; without it, what the lines need.
    """
    points = [point for lines in series.values() for line in lines for point in line]
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    top = top or max(4 * math.ceil(max(y for _, y in points) / 4), 4)
    high = high if high > low else low + 1

    def place(x: float, y: float) -> str:
        across = LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        return f"{across:.1f},{HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for step in range(5):
        y = HEIGHT - BOTTOM - step / 4 * (HEIGHT - TOP - BOTTOM)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * step / 4:.3g}</text>')
    every = max(1, round((high - low) / 5))
    for value in range(math.ceil(low), math.floor(high) + 1, every):
        x = place(value, 0).partition(",")[0]
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across)}</text>')
    for number, (name, lines) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        for index, line in reversed(list(enumerate(lines))):
            way = "M" + "L".join(place(x, y) for x, y in line)
            look = 'stroke-width="2.5"' if index == 0 else 'stroke-width="1" stroke-opacity="0.4"'
            parts.append(f'<path d="{way}" fill="none" stroke="{colour}" {look}/>')
        y = TOP + 16 + 20 * number
        parts.append(f'<path d="M{WIDTH - RIGHT + 12} {y - 4}h18" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 36}" y="{y}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
