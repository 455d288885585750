"""The curves of examples/reflection.sh as an SVG of a few kilobytes, next to the rates of the corpus."""

from collections.abc import Sequence

PANELS = (
    ("returns", 'returns ("Wait") per answer'),
    ("checks", "checks (Yes, No) per answer"),
    ("thought", "tokens of thought"),
    ("right", "pass@1"),
)
COLOURS = ("#1f77b4", "#d95f02", "#2ca02c", "#7b3294", "#8c564b")
WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 170, 46, 34, 44
WINDOW = 5  # updates that a point of a curve is the mean of


def smooth(values: Sequence[float]) -> list[float]:
    """The mean of each value and up to WINDOW - 1 before it."""
    windows = [values[max(0, place + 1 - WINDOW) : place + 1] for place in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def panel(found: dict, name: str, title: str, left: int, top: int) -> list[str]:
    """One plot: a curve for each seed over updates, dashed lines for the corpus."""
    lines = [smooth(one["curves"][name]) for one in found["seeds"]]
    levels = []
    if name != "right":
        levels = [
            (found["corpus"][part][name], label)
            for part, label in (("answers", "corpus"), ("searches", "its searches"))
        ]
    highest = max([value for line in lines for value in line] + [value for value, _ in levels] + [1e-6]) * 1.08
    if name == "right":
        highest = 1.0
    steps = max(len(line) for line in lines)

    def x(place: int) -> float:
        return left + WIDTH * place / max(1, steps - 1)

    def y(value: float) -> float:
        return top + HEIGHT * (1 - value / highest)

    parts = [f'<text x="{left}" y="{top - 8}" font-weight="bold">{title}</text>']
    for share in (0, 0.5, 1):
        value = share * highest
        parts.append(f'<path d="M{left} {y(value):.1f}h{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for value, label in levels:
        parts.append(f'<path d="M{left} {y(value):.1f}h{WIDTH}" stroke="#555" stroke-dasharray="5 4"/>')
        parts.append(
            f'<text x="{left + WIDTH - 2}" y="{y(value) - 3:.1f}" text-anchor="end" fill="#555">{label}</text>'
        )
    for line, colour in zip(lines, COLOURS, strict=False):
        points = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in enumerate(line))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    parts.append(f'<text x="{left + WIDTH}" y="{top + HEIGHT + 15}" text-anchor="end">update {steps}</text>')
    return parts


def plot(found: dict) -> str:
    """The whole picture: four panels, and which colour is which seed."""
    across, down = LEFT + WIDTH + 20, HEIGHT + GAP + 18
    parts = []
    for place, (name, title) in enumerate(PANELS):
        parts += panel(found, name, title, LEFT + place % 2 * across, TOP + place // 2 * down)
    for place, (one, colour) in enumerate(zip(found["seeds"], COLOURS, strict=False)):
        parts.append(
            f'<text x="{LEFT + 80 * place}" y="{TOP + 2 * down - 8}" fill="{colour}">seed {one["seed"]}</text>'
        )
    size = f'width="{2 * across + 10}" height="{TOP + 2 * down}"'
    style = 'font-family="sans-serif" font-size="11"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>'
    return "\n".join((head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>\n"))
