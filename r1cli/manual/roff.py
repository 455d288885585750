"""Sections as a man page, in man(7) macros that groff and mandoc read without a word.

No page carries a date: it would change without its text. mandoc asks for one, and gets the word it replaces itself.
"""

import re
import textwrap

from r1cli.manual.sources import Block, Literal, Paragraph, Sections

WIDTH = 78
CODE = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"})
GLUE = "\xa0"  # a space where no line ends
PROSE = str.maketrans({"\\": "\\e", GLUE: "\\~", "^": "\\(ha", "~": "\\(ti"})
# What is typed, in backticks or as an option; and the name of another page.
MARKED = re.compile(r"`([^`]+)`|(?<![\w-])(--?[a-z][\w-]*)|\b(r1(?:-[a-z-]+)?|[a-z]+)\((\d)\)")


def page(name: str, section: int, sections: Sections, subsections: frozenset[str] = frozenset()) -> str:
    """A whole page. Headings that are also in `subsections` belong to the section before them."""
    title = name.upper().translate(CODE)
    lines = [
        '.\\" Made by python -m r1cli.manual; what is written by hand stands in r1cli/manual/pages.',
        ".nr HY 0",  # neither hyphenated nor stretched: it is read to be typed
        f'.ie \\n(.x .TH {title} {section} "" r1 "r1 manual"',
        f'.el .TH {title} {section} $Mdocdate$ r1 "r1 manual"',
        ".ad l",
    ]
    for heading, blocks in sections.items():
        lines.append(f"{'.SS' if heading in subsections else '.SH'} {heading}")
        if heading == "NAME":
            lines += [_safe(block.text.translate(CODE)) for block in blocks]
            continue
        for place, block in enumerate(blocks):
            lines += _block(block, first=place == 0)
    return "\n".join(lines) + "\n"


def typed(text: str) -> str:
    """Text in bold, to be copied as it stands."""
    return f"\\fB{text.translate(CODE)}\\fR"


def name_of(value: str) -> str:
    """What stands for a value, in italics."""
    return f"\\fI{value.translate(CODE)}\\fR"


def _block(block: Block, first: bool) -> list[str]:
    if isinstance(block, Literal):
        lines = [_safe(line.translate(CODE)) for line in block.lines]
        return [*([] if first else [".PP"]), ".RS 4", ".EX", *lines, ".EE", ".RE"]
    if isinstance(block, Paragraph):
        return [*([] if first else [".PP"]), *_filled(marked(block.text))]
    term = block.term if "\\f" in block.term else marked(f"`{block.term}`" if "`" not in block.term else block.term)
    return [".TP", _safe(term), *_filled(marked(block.text))]


def marked(text: str) -> str:
    """Prose with what is typed in bold."""
    done, place = [], 0
    for match in MARKED.finditer(text):
        done.append(text[place : match.start()].translate(PROSE))
        code, option, other, section = match.groups()
        done.append(f"{typed(other)}({section})" if other else typed(code or option))
        place = match.end()
    return "".join([*done, text[place:].translate(PROSE)])


def _filled(text: str) -> list[str]:
    """Lines of a paragraph: a sentence begins a line, none is long."""
    lines = []
    for sentence in re.split(r"(?<=[.?!]) (?=[A-Z\\`-])", text):
        lines += textwrap.wrap(sentence, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_safe(line) for line in lines]


def _safe(line: str) -> str:
    return f"\\&{line}" if line.startswith((".", "'")) else line
