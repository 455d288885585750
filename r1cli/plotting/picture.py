"""Panels as a picture, PNG or SVG, drawn by matplotlib. The same panels give the same bytes."""

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from r1cli import ui
from r1cli.errors import InputError
from r1cli.plotting.curves import AXES, Panel, labels_of, smoothed

SUFFIXES = (".png", ".svg")
DOTS = 180  # an inch of a PNG


class Theme(NamedTuple):
    """Colours of a background, and of what can be read on it."""

    ground: str
    ink: str
    faint: str
    curves: tuple[str, ...]


THEMES = {
    "light": Theme(
        "#ffffff", "#24292f", "#e4e7eb", ("#0072b2", "#d55e00", "#009e73", "#c2559d", "#b07d00", "#3aa0d8", "#7a5195")
    ),
    "dark": Theme(
        "#0d1117", "#d5dae0", "#2b323b", ("#58a6ff", "#ff9e57", "#45c992", "#ec8fc4", "#e3c04b", "#8fd3f4", "#b79df0")
    ),
}
DASHES = ("-", "--", ":", "-.")  # for more curves than colours


def render(panels: Sequence[Panel], suffix: str, theme: str, smooth: int | None) -> bytes:
    """The picture's bytes; smooth is the window of the moving mean, None for one that suits the number of points.

    Raises InputError where matplotlib is not installed.
    """
    try:
        with ui.hushed():  # it says when it builds its list of fonts
            from matplotlib import rc_context
            from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"a picture needs matplotlib ({error}): pip install 'r1-pipes[plot]'") from None
    colours = THEMES[theme]
    labels = labels_of(panels)
    with rc_context(_settings(colours)):
        rows, columns = _grid(len(panels))
        width, height = (5.6, 3.6) if len(panels) == 1 else (3.5 * columns, 2.45 * rows)
        figure = Figure(figsize=(width, height + 0.35 * (len(labels) > 1)), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
        fields = figure.subplots(rows, columns, squeeze=False).flatten()
        for place, (field, panel) in enumerate(zip(fields, panels, strict=False)):
            _panel(field, panel, labels, colours, smooth)
            if place + columns >= len(panels):  # the lowest of its column says what the axis is
                field.set_xlabel(AXES[panel.axis])
        for field in fields[len(panels) :]:
            field.remove()
        if len(labels) > 1:
            _legend(figure, fields[0], labels, colours, width)
        with warnings.catch_warnings(action="ignore"):  # a letter that the font lacks is drawn as a box
            out = io.BytesIO()
            bare = {"Date": None} if suffix == ".svg" else {"Software": None}
            figure.savefig(out, format=suffix[1:], metadata=bare)
    return out.getvalue()


def _settings(theme: Theme) -> dict[str, Any]:
    return {
        "figure.facecolor": theme.ground, "savefig.facecolor": theme.ground, "axes.facecolor": theme.ground,
        "text.color": theme.ink, "axes.labelcolor": theme.ink, "axes.edgecolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "xtick.color": theme.ink, "ytick.color": theme.ink, "grid.color": theme.faint, "axes.grid": True,
        "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7,
        "xtick.major.width": 0.7, "ytick.major.width": 0.7, "font.size": 9, "axes.titlesize": 10,
        "axes.titlelocation": "left", "axes.labelsize": 9, "figure.dpi": DOTS, "savefig.dpi": DOTS,
        # A run may be called a$b$c; and the ids in an SVG are random otherwise.
        "text.parse_math": False, "svg.hashsalt": "r1",
    }  # fmt: skip


def _grid(count: int) -> tuple[int, int]:
    """Rows and columns: at most four abreast, with the fewest places empty."""
    columns = min((3, 4, 2) if count != 4 else (2,), key=lambda wide: -count % wide) if count > 3 else count
    return math.ceil(count / columns), columns


def _style(number: int, theme: Theme) -> dict[str, str]:
    kinds = len(theme.curves)
    return {"color": theme.curves[number % kinds], "linestyle": DASHES[number // kinds % len(DASHES)]}


def _panel(field: Any, panel: Panel, labels: Sequence[str], theme: Theme, smooth: int | None) -> None:
    for curve in panel.curves:
        style = _style(labels.index(curve.label), theme)
        xs, ys = [point.x for point in curve.points], [point.y for point in curve.points]
        ends = [point.interval for point in curve.points]
        if curve.sparse or len(xs) == 1:
            field.plot(xs, ys, marker="o", markersize=3.5, linewidth=1.4, **style)
            if all(end is not None for end in ends):
                field.fill_between(xs, *zip(*ends, strict=True), color=style["color"], alpha=0.15, linewidth=0)
            continue
        window = max(1, len(xs) // 15) if smooth is None else smooth
        if window > 1:
            field.plot(xs, ys, linewidth=0.8, alpha=0.3, **style)
            ys = [point.y for point in smoothed(curve.points, window)]
        field.plot(xs, ys, linewidth=1.6, **style)
    _axes(field, panel)


def _axes(field: Any, panel: Panel) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator, ScalarFormatter

    field.set_title(panel.title)
    # The whole number at each tick: a power of ten above the axis would stand in the title.
    field.yaxis.set_major_formatter(lambda value, _: f"{value:.6g}")
    ys = [point.y for curve in panel.curves for point in curve.points]
    if 0 <= min(ys) < max(ys) / 2 or min(ys) == max(ys) >= 0:
        field.set_ylim(bottom=0.0)  # an honest axis where it costs little room
    if panel.axis == "k":
        ks = sorted({point.x for curve in panel.curves for point in curve.points})
        field.set_xscale("log", base=2)
        field.set_xticks([k for k in ks if math.log2(k).is_integer()] or ks, minor=False)
        field.xaxis.set_major_formatter(ScalarFormatter())
        return
    field.xaxis.set_major_locator(MaxNLocator(5, integer=panel.axis == "step", steps=[1, 2, 5, 10]))
    if panel.axis == "tokens":
        field.xaxis.set_major_formatter(EngFormatter(sep=""))


def _legend(figure: Any, field: Any, labels: Sequence[str], theme: Theme, width: float) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linewidth=1.8, **_style(number, theme)) for number in range(len(labels))]
    # Older matplotlib leaves out what begins with an underscore.
    shown = [f"./{label}" if label.startswith("_") else label for label in labels]
    abreast = max(1, min(len(labels), int(width * 11 / (max(map(len, shown)) + 6))))
    figure.legend(handles, shown, loc="outside upper center", ncols=abreast, frameon=False, handlelength=1.6)
