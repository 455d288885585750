"""What a person sees: one-line messages and a progress line, always on stderr.

Records never come here (stream.py). Nothing is imported beyond the standard library: this runs in every client.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from r1cli import terminal

_state = {"command": "r1", "quiet": False, "verbose": False, "paging": False}


def setup(command: str = "", quiet: bool = False, verbose: bool = False) -> None:
    """Names the running command for all later messages, and how much of them to show."""
    _state.update(command=f"r1 {command}".rstrip(), quiet=quiet, verbose=verbose)


def verbose() -> bool:
    """Whether -v was given."""
    return bool(_state["verbose"])


def quiet() -> bool:
    """Whether -q was given."""
    return bool(_state["quiet"])


def error(message: str) -> None:
    """One line that says what went wrong; shown even with -q."""
    _line(message)


def say(message: str) -> None:
    """One line worth reading at the end of a normal run."""
    if not _state["quiet"]:
        _line(message)


def warn(message: str) -> None:
    """One line about something that the user did not ask for and should know."""
    say(f"warning: {message}")


def detail(message: str) -> None:
    """One line for -v only."""
    if _state["verbose"]:
        _line(message)


def printable(text: str) -> str:
    """Text that cannot steer the terminal: control characters are shown, not obeyed."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


_held: list[str] = []


def introduce(lines: list[str]) -> None:
    """Lines before an error, for a person: how a command is used."""
    _write("\n".join([*lines, "", ""]))


def _line(message: str) -> None:
    # One event is one line, whatever a file name or a library put into it.
    _write(f"{_state['command']}: {printable(' '.join(message.splitlines()))}\n")


def _write(text: str) -> None:
    shared = is_terminal(sys.stderr)
    if _state["paging"] or (shared and terminal.taken(terminal.PAGER)):
        _held.append(text)
        return
    # Our own progress line, or that of another stage of the pipe, which draws it again below.
    clear = "\r\x1b[K" if Progress.drawn or (shared and terminal.taken(terminal.LINE)) else ""
    Progress.drawn = False
    whole, _held[:] = "".join([*_held, text]), []
    try:
        sys.stderr.write(clear + _for_stderr(whole))
        sys.stderr.flush()
    except (OSError, ValueError):  # a terminal that is gone must not turn a finished job into a failed one
        return


def paging(now: bool) -> None:
    """Whether a pager of this program has the screen: what there is to say then waits until it has not."""
    _state["paging"] = now


def say_held() -> None:
    """Says what was held back while a pager had the screen: the last thing that a program does.

    The pager may still be there, and waiting for it would be wrong: it may wait for us, or for a shell that does.
    """
    if _held:
        with suppress(OSError, ValueError):
            sys.stderr.write("\r\x1b[K" + _for_stderr("".join(_held)))
            sys.stderr.flush()


@contextmanager
def hushed() -> Iterator[None]:
    """Keeps what libraries print while they load off the screen, their C code included; with -v it is shown."""
    if verbose():
        yield
        return
    kept: dict[int, int] = {}
    with open(os.devnull, "wb") as nowhere:
        try:
            _flush()
            for number in (1, 2):
                with suppress(OSError):  # closed: nothing to keep quiet
                    kept[number] = os.dup(number)
                    os.dup2(nowhere.fileno(), number)
            yield
        finally:
            _flush()
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # gone, closed, or never there
            stream.flush()


def is_terminal(stream: object) -> bool:
    """Whether a stream is a terminal that understands more than plain lines."""
    return bool(getattr(stream, "isatty", lambda: False)()) and os.environ.get("TERM") != "dumb"


class Screen(NamedTuple):
    """What standard output can show: a terminal or not, colours, letters beyond ASCII, how many columns and lines."""

    terminal: bool
    colour: bool
    utf8: bool
    columns: int
    lines: int

    def encode(self, text: str) -> bytes:
        """Text as it takes it: UTF-8, or ASCII in which other letters are written as \\u and their number."""
        if self.utf8:
            return text.encode("utf-8", "backslashreplace")
        return ascii_only(text).encode()


# What our own texts have beyond ASCII.
_ASCII = str.maketrans({"─": "-", "│": "|", "·": "-", "→": "->", "±": "+-", "×": "x", "…": "...", "≥": ">=", "≤": "<="})


def screen() -> Screen:
    """Standard output as it is now; to be asked before stream.py takes it away."""
    columns, lines = terminal_size(1)
    return Screen(is_terminal(sys.stdout), colour(sys.stdout), _utf8(sys.stdout), columns, lines)


def _for_stderr(text: str) -> str:
    return text if text.isascii() or _utf8(sys.stderr) else ascii_only(text)


def ascii_only(text: str) -> str:
    """Text for where there is nothing but ASCII: other letters as \\u and their number."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode()


def _utf8(stream: object) -> bool:
    """Whether a stream takes more than ASCII.

    The locale says so, where one is set; Python alone would call the C locale UTF-8. Where none is set, as in most
    containers, nothing is said about the terminal, and nearly all of them are.
    """
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "UTF-8")
    charset = getattr(stream, "encoding", None) or ""
    return all(name.lower().replace("-", "").endswith("utf8") for name in (locale.partition("@")[0], charset))


def colour(stream: object) -> bool:
    """Whether to colour what goes to this stream (NO_COLOR, TERM=dumb and pipes say no)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


class Progress:
    """One self-erasing line on a terminal; nothing at all elsewhere, with -q or with -v.

    Of several programs on one terminal, as in a pipe, the first that has something to show has the line until it is
    done; then another may.
    """

    drawn = False

    def __init__(self) -> None:
        self.active = is_terminal(sys.stderr) and not _state["quiet"] and not _state["verbose"]
        self.last = 0.0

    def update(self, text: str) -> None:
        """Redraws the line, at most ten times a second."""
        now = time.monotonic()
        if not self.active or now - self.last < 0.1:
            return
        self.last = now
        if not terminal.take(terminal.LINE) or terminal.taken(terminal.PAGER):
            return
        width = terminal_width()
        line = _for_stderr(f"{_state['command']}: {text}")[: width - 1]
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()
        Progress.drawn = True

    def clear(self) -> None:
        """Erases the line if one is drawn, and leaves its place to others."""
        if Progress.drawn and not terminal.taken(terminal.PAGER):
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        Progress.drawn = False
        if self.active:
            terminal.release(terminal.LINE)


def terminal_width() -> int:
    """Columns of the terminal that messages go to, 80 where there is none."""
    return terminal_size(2)[0]


def terminal_size(fd: int) -> tuple[int, int]:
    """Columns and lines of a terminal; 80 and 24 where there is none, or where it does not know."""
    try:
        columns, lines = os.get_terminal_size(fd)
    except OSError:
        columns = lines = 0
    return max(20, columns or 80), max(2, lines or 24)
