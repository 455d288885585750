"""A pager between this program and the terminal, as git and man have one: only for people, never for pipes."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from r1cli import stream
from r1cli.ui import Screen

LESS = "FRX"  # leave when it fits the screen, pass colours on, do not clear the screen at the end


@contextmanager
def paged(screen: Screen) -> Iterator[stream.Writer]:
    """A writer to standard output, by way of $PAGER (less, where it is not set) if that is a terminal.

    An empty PAGER, or `cat`, is no pager.
    """
    command = _command()
    if command is None or not screen.terminal:
        with stream.Writer() as out:
            yield out
        return
    display = stream.take_stdout()
    reading, writing = os.pipe()
    environment = {"LESS": LESS, "LESSCHARSET": "utf-8" if screen.utf8 else "ascii"} | os.environ
    pager = subprocess.Popen(command, stdin=reading, stdout=display, shell=True, env=environment)
    os.close(reading)
    os.dup2(writing, display, inheritable=False)
    os.close(writing)
    try:
        with stream.Writer() as out:
            yield out
    finally:
        # Whatever ended the writing, the person reads on; Ctrl-C is then the pager's.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        pager.wait()


def _command() -> str | None:
    command = os.environ.get("PAGER", "less")
    words = command.split()
    # As git does: the value is a line for the shell. A program that is not there would swallow the pages.
    return None if not words or words == ["cat"] or not shutil.which(words[0]) else command
