"""r1 plot --follow: the same drawing again whenever there is more to draw."""

import os
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from r1cli import stream, ui
from r1cli.errors import InputError
from r1cli.plotting import drawing, sources
from r1cli.plotting.drawing import Wanted
from r1cli.plotting.sources import Source
from r1cli.ui import Screen

SECONDS = 1.0  # between two looks at the files
BURST = 0.2  # what comes on standard input within it is drawn at once


class Growing:
    """A RUN or FILE that others write to; never at its end."""

    fd: int | None = None
    ended = False

    def __init__(self, path: Path):
        self.path = path
        self.seen: object = None
        self.found = Source(str(path), [], [])

    def look(self) -> bool:
        """Reads what is there if it is not what was there last time, and says whether it did.

        The whole file again, for a run that goes back to an older step cuts its metrics.
        """
        files = [(file, file.stat()) for file in sources.files_of(self.path) if file.exists()]
        now = [(file, about.st_ino, about.st_size, about.st_mtime_ns) for file, about in files]
        if now == self.seen:
            return False
        self.seen, self.found = now, sources.read_growing(self.path)
        return True


class Stdin:
    """Metrics that a loop pipes in, as they come."""

    def __init__(self) -> None:
        next(stream.open_inputs([]))  # raises InputError for a terminal, where nobody types metrics
        self.fd: int | None = sys.stdin.fileno()
        self.ended = False
        self.rest = b""
        self.lines: list[stream.Line] = []
        self.found = Source("stdin", [], [])

    def look(self) -> bool:
        """Reads what has come and says whether there was any."""
        before = len(self.lines)
        while not self.ended and select.select([self.fd], [], [], 0)[0]:
            data = os.read(self.fd or 0, 1 << 16)
            self.ended = not data
            *whole, self.rest = (self.rest + (data or b"\n")).split(b"\n")
            for raw in whole:
                if raw.strip():
                    where = f"stdin:{len(self.lines) + 1}"
                    self.lines.append(stream.Line(raw, stream.parse(raw, where), where))
        if len(self.lines) > before:
            self.found = sources.collect("stdin", self.lines)
        return len(self.lines) > before


def follow(paths: Sequence[Path], wanted: Wanted, screen: Screen) -> None:
    """Draws again whenever a source has more; ends with standard input, if that is all there is, or by a signal.

    Raises InputError where a drawing cannot be replaced by the next: no terminal, and no file.
    """
    drawing.check(wanted)
    if wanted.output is None and not screen.terminal:
        raise InputError("--follow needs a terminal to draw on again, or a picture (-o FILE.png)")
    growing = [Stdin() if str(path) == "-" else Growing(path) for path in paths]
    canvas = None if wanted.output else stream.Writer()
    drawn = said = False
    while True:
        changed = [source.look() for source in growing]
        ready = all(source.found.metrics or source.found.results for source in growing)
        if ready and any(changed):
            panels = drawing.chosen([source.found for source in growing], wanted)
            if canvas is None:
                with stream.Writer(wanted.output) as file:
                    file.write(drawing.picture(panels, wanted))
            else:
                columns, lines = ui.terminal_size(canvas.fd)  # it may have been made larger
                text = drawing.text(panels, wanted, screen._replace(columns=columns), lines - 1)
                canvas.write(_frame(text, first=not drawn))
            drawn = True
        elif not ready and not said:
            said = True
            ui.say(f"waiting for the first update of {', '.join(map(str, paths))}")
        if all(source.ended for source in growing):
            if not drawn:
                raise InputError("standard input had no updates")
            return
        _wait(growing)


def _frame(text: bytes, *, first: bool) -> bytes:
    """A drawing over the one before, of which nothing stays: no flicker, as clearing the screen would give."""
    return (b"\x1b[2J" if first else b"") + b"\x1b[H" + text.replace(b"\n", b"\x1b[K\n") + b"\x1b[J"


def _wait(growing: Sequence[Growing | Stdin]) -> None:
    inputs = [source.fd for source in growing if source.fd is not None and not source.ended]
    # With nothing but standard input there is nothing else to look at.
    alone = len(inputs) == len(growing)
    if inputs:
        select.select(inputs, [], [], None if alone else SECONDS)
        time.sleep(BURST)
    else:
        time.sleep(SECONDS)
