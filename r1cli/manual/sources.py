"""The hand-written part of a manual page: plain text, read into sections of paragraphs, lists and literal lines.

A line in capitals begins a section. Text in the first column is a paragraph; a first line followed by lines indented by
two is a term with its meaning; lines indented by four are shown as they are. `backticks` mark what is typed.
"""

import re
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "pages"
HEADING = re.compile(r"[A-Z][A-Z ,]+$")


class Paragraph(NamedTuple):
    """Text to be filled."""

    text: str


class Term(NamedTuple):
    """A term and what it means."""

    term: str
    text: str


class Literal(NamedTuple):
    """Lines shown as they are: shell input, records."""

    lines: tuple[str, ...]


Block = Paragraph | Term | Literal
Sections = dict[str, list[Block]]


def load(name: str) -> Sections:
    """The sections of a page's source; empty where nobody has written one."""
    path = FOLDER / f"{name}.txt"
    return read(path.read_text(encoding="ascii")) if path.exists() else {}


def read(text: str) -> Sections:
    """Sections by their headings; raises ValueError for text before the first."""
    sections: Sections = {}
    current: list[Block] | None = None
    for chunk in text.strip("\n").split("\n\n"):
        lines = chunk.strip("\n").splitlines()
        if lines and HEADING.match(lines[0]):
            current = sections.setdefault(lines.pop(0), [])
        if current is None:
            raise ValueError(f"text before the first heading: {chunk[:40]!r}")
        if lines:
            current.append(_block(lines))
    return sections


def _block(lines: list[str]) -> Block:
    if lines[0].startswith("    "):
        return Literal(tuple(line[4:] for line in lines))
    if len(lines) > 1 and all(line.startswith("  ") for line in lines[1:]):
        return Term(lines[0], " ".join(line.strip() for line in lines[1:]))
    return Paragraph(" ".join(line.strip() for line in lines))


def scripts(sections: Sections) -> list[str]:
    """The examples of a page as shell scripts, in order."""
    return ["\n".join(block.lines) for block in sections.get("EXAMPLES", []) if isinstance(block, Literal)]
