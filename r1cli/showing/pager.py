"""A pager between this program and the terminal, as git and man have one: only for people, never for pipes."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from r1cli import stream, terminal, ui
from r1cli.ui import Screen

LESS = "FRX"  # leave when it fits the screen, pass colours on, do not clear the screen at the end


class Paged:
    """Writes to standard output, and to a pager from the first byte on: until then the screen belongs to others."""

    def __init__(self, out: stream.Writer, command: str | None, utf8: bool):
        self.out, self.command, self.utf8 = out, command, utf8
        self.pager: subprocess.Popen[bytes] | None = None

    def write(self, data: bytes) -> None:
        """Writes text; raises what stream.Writer.write does."""
        if self.command is not None and self.pager is None:
            self._start(self.command)
        self.out.write(data)

    def _start(self, command: str) -> None:
        # Other stages of the pipe may be showing how far they are: over by now.
        terminal.take(terminal.PAGER, self.out.fd)
        if terminal.taken(terminal.LINE, self.out.fd):
            self.out.write(b"\r\x1b[K")
        ui.paging(True)
        reading, writing = os.pipe()
        environment = {"LESS": LESS, "LESSCHARSET": "utf-8" if self.utf8 else "ascii"} | os.environ
        self.pager = subprocess.Popen(command, stdin=reading, stdout=self.out.fd, shell=True, env=environment)
        os.close(reading)
        os.dup2(writing, self.out.fd, inheritable=False)
        os.close(writing)


@contextmanager
def paged(screen: Screen) -> Iterator[Paged]:
    """A writer to standard output, by way of $PAGER (less, where it is not set) if that is a terminal.

    An empty PAGER, or `cat`, is no pager.
    """
    paged = None
    try:
        with stream.Writer() as out:
            paged = Paged(out, _command() if screen.terminal else None, screen.utf8)
            yield paged
    finally:
        if paged is not None and paged.pager is not None:
            # Whatever ended the writing, the person reads on; Ctrl-C is then the pager's.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            paged.pager.wait()
            ui.paging(False)
            terminal.release(terminal.PAGER)


def _command() -> str | None:
    command = os.environ.get("PAGER", "less")
    words = command.split()
    # As git does: the value is a line for the shell. A program that is not there would swallow the pages.
    return None if not words or words == ["cat"] or not shutil.which(words[0]) else command
