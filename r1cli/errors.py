"""The errors a user can meet, the exit codes they stand for, and what was probably meant by a name that is none."""

from collections.abc import Iterable
from pathlib import Path


class R1Error(Exception):
    """A failure while doing what was asked: one line for the user, exit 1."""

    code = 1


class InputError(R1Error):
    """Bad usage or bad input: one line for the user, exit 2."""

    code = 2


class NothingToRead(InputError):
    """Input was expected and standard input is a terminal: a person who may not know what to give."""


class ReaderGone(Exception):
    """The reader of our output went away: clean up, say nothing, exit 0."""


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The end of a message about an unknown name: `; did you mean X?`, or nothing when no known one is like it."""
    import difflib  # only a mistake pays for it

    found = difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)
    return f"; did you mean {found[0]}?" if found else ""


def nearest_file(path: Path) -> str:
    """The same for a path: the files and folders beside where it would be."""
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    said = nearest(path.name, beside, 0.75)  # .jsonl alone makes no likeness
    return said.replace("mean ", f"mean {path.parent}/") if said and str(path.parent) != "." else said
