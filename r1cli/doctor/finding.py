"""One finding of the doctor, and the one way in which it asks other programs."""

import subprocess
import sys
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """How one part does.

    status: "ok", "absent" (not there: what it is for can't be done) or "broken" (there, and it does not work).
    needed: whether r1 does its basic work without it. found: its version, or what is wrong with it. purpose: what it
    is for. fix: what to do, "" where nothing is to be done.
    """

    check: str
    status: Literal["ok", "absent", "broken"]
    needed: bool
    found: str
    purpose: str
    fix: str = ""

    @property
    def fatal(self) -> bool:
        """Whether r1 can't do its basic work because of it."""
        return self.needed and self.status != "ok"


class Answer(NamedTuple):
    """What a program said: its exit code (None: it did not end), its standard output, and its last line of errors."""

    code: int | None
    output: str
    complaint: str


def ask(command: list[str], *, given: str = "", seconds: float = 300.0) -> Answer:
    """Runs a program to its end, with a text as its standard input; one that can't be started has no code either."""
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired:
        return Answer(None, "", f"no answer after {seconds:.0f} seconds")
    except OSError as error:
        return Answer(None, "", f"{command[0]}: {error.strerror}")
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return Answer(done.returncode, done.stdout, lines[-1][:300] if lines else f"exit code {done.returncode}")


def python(code: str) -> Answer:
    """Runs a piece of Python in a process of its own, for a library may print, hang or die when it is imported."""
    return ask([sys.executable, "-c", code])
