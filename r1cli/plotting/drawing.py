"""r1 plot at work: what was asked for, made of what the sources hold, as text or as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from r1cli import stream, ui
from r1cli.errors import InputError
from r1cli.plotting import curves, sources, terminal
from r1cli.plotting.curves import Panel
from r1cli.plotting.sources import Source
from r1cli.ui import Screen

WIDEST = 160  # columns: beyond them curves only get longer


class Wanted(NamedTuple):
    """What was asked for on the command line."""

    metrics: Sequence[str] | None
    over: str | None
    smooth: int | None
    labels: Sequence[str] | None
    output: Path | None
    theme: str
    height: int | None


def once(paths: Sequence[Path], wanted: Wanted, screen: Screen) -> None:
    """Draws what there is; raises InputError when there is nothing to draw."""
    check(wanted)
    with stream.Writer(wanted.output) as out:
        read = [
            sources.collect("stdin", stream.read([path])) if str(path) == "-" else sources.read(path) for path in paths
        ]
        panels = chosen(read, wanted)
        for number in curves.left_out(panels, read):
            what = "nothing of what is drawn" if wanted.metrics is None else f"no {' or '.join(wanted.metrics)}"
            ui.warn(f"{read[number].name} is left out: it has {what}")
        out.write(picture(panels, wanted) if wanted.output else text(panels, wanted, screen))


def check(wanted: Wanted) -> None:
    """Raises InputError for an output that is no picture: found before hours of waiting for updates."""
    from r1cli.plotting.picture import SUFFIXES

    if wanted.output is not None and wanted.output.suffix not in SUFFIXES:
        raise InputError(f"--output {wanted.output}: expected a name that ends in {' or '.join(SUFFIXES)}")


def chosen(read: Sequence[Source], wanted: Wanted) -> list[Panel]:
    """The panels to draw; raises InputError when there are none."""
    axis = wanted.over or curves.axis_of(read)
    return curves.panels(read, wanted.labels or names(read), wanted.metrics, axis)


def picture(panels: Sequence[Panel], wanted: Wanted) -> bytes:
    """The bytes of a picture of the panels; those in which nothing changes only if they were asked for."""
    from r1cli.plotting.picture import render

    moving = panels if wanted.metrics else [panel for panel in panels if not panel.constant()] or panels
    return render(moving, wanted.output.suffix if wanted.output else ".png", wanted.theme, wanted.smooth)


def text(panels: Sequence[Panel], wanted: Wanted, screen: Screen, lines: int | None = None) -> bytes:
    """The panels for a terminal, in its own character set; in at most so many lines, if given."""
    if wanted.smooth:
        panels = [_smoothed(panel, wanted.smooth) for panel in panels]
    heights = [wanted.height] if wanted.height or lines is None else [None, 5, 4, 3, 2, 1]
    drawn = ""
    for height in heights:
        look = terminal.Look(min(screen.columns, WIDEST), height, screen.utf8, screen.colour)
        drawn = terminal.draw(panels, look, aside=not wanted.metrics)
        if lines is None or drawn.count("\n") <= lines:
            break
    return screen.encode("".join(drawn.splitlines(keepends=True)[:lines]))


def _smoothed(panel: Panel, window: int) -> Panel:
    smooth = [c if c.sparse else c._replace(points=curves.smoothed(c.points, window)) for c in panel.curves]
    return panel._replace(curves=smooth)


def names(read: Sequence[Source]) -> list[str]:
    """What tells sources apart: the last parts of their paths, as many as it takes."""
    split = [ui.printable(source.name).rstrip("/").removesuffix("/metrics.jsonl").split("/") for source in read]
    longest = max(map(len, split))
    for length in range(1, longest + 1):
        short = ["/".join(parts[-length:]) for parts in split]
        plain = [name.removesuffix(".jsonl").removesuffix(".json") for name in short]
        for found in (plain, short):
            if len(set(found)) == len(found):
                return found
    return [f"{'/'.join(parts)} ({number})" for number, parts in enumerate(split, 1)]
