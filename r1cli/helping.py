"""Help as plain text: a page for the program, one for each command, no line wider than the terminal or 80 columns.

Examples come first, options in groups. What the commands are is not known here (signatures.py describes them).
"""

import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping

from r1cli.signatures import HELP_FLAGS, Command, Parameter

WIDTH = 80
NARROW = 60  # nothing is folded further than this
COLUMN = 26  # the widest left column; what is longer stands on a line of its own
EXIT = "Exit status: 0 done, 1 failure, 2 bad usage or input."

# In pipeline order, by the first command of each group.
STAGES = {
    "init": "Begin",
    "prompts": "Sample, judge, choose",
    "grpo-step": "Train",
    "eval": "Measure and look",
    "serve": "Serve and keep",
}


def width() -> int:
    """Columns of a help page: the terminal's, at most 80."""
    return max(NARROW, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def command_page(command: Command, columns: int | None = None) -> str:
    """The help of one command."""
    columns = columns or width()
    lines = [*beginning(command, columns)]
    for paragraph in command.paragraphs:
        lines += ["", *_fold(paragraph, columns, "  ")]
    if command.arguments:
        entries = [(argument.metavar, argument.help, argument.notes) for argument in command.arguments]
        lines += ["", "Arguments:", *_table(entries, columns)]
    groups = {
        heading: [(spelling(option), option.help, option.notes) for option in options]
        for heading, options in command.groups().items()
    }
    left = _left([name for entries in groups.values() for name, _, _ in entries])
    for heading, entries in groups.items():
        lines += ["", f"{heading}:", *_table(entries, columns, left)]
    return "\n".join([*lines, "", EXIT, f"The manual: man r1-{command.name}, man 5 r1-stream", ""])


def beginning(command: Command, columns: int | None = None) -> list[str]:
    """The lines a help page begins with: usage, one sentence, examples."""
    columns = columns or width()
    lines = [f"Usage: {command.usage}", "", *_fold(command.summary, columns, "  ")]
    if command.examples:
        lines += ["", "Examples:"]
        for example in command.examples:
            lines += fold_shell(example, columns, "  ")
    return lines


def program_page(summary: str, examples: Iterable[str], summaries: Mapping[str, str]) -> str:
    """The help of the program: its commands in pipeline order, under the headings of their stages."""
    columns = width()
    lines = ["Usage: r1 COMMAND [OPTIONS] [ARGUMENTS]", "", *_fold(summary, columns, "  "), "", "Examples:"]
    for example in examples:
        lines += fold_shell(example, columns, "  ")
    left = max(len(name) for name in summaries)
    for name, sentence in summaries.items():
        if name in STAGES:
            lines += ["", f"{STAGES[name]}:"]
        lines += _table([(name, sentence, "")], columns, left)
    options = [(", ".join(reversed(HELP_FLAGS)), "Show this and exit.", ""), ("--version", "Show the version.", "")]
    lines += ["", "Options:", *_table(options, columns)]
    lines += ["", "r1 help COMMAND or r1 COMMAND --help shows all about a command; r1 help stream", "the records."]
    return "\n".join([*lines, ""])


def stream_page() -> str:
    """The manual of the records, from its source."""
    from r1cli.manual import sources

    columns, lines = width(), ["r1-stream: records and run directories"]
    for heading, blocks in sources.load("r1-stream").items():
        lines += ["", heading]
        for place, block in enumerate(blocks):
            lines += [""] if place else []
            if isinstance(block, sources.Literal):
                lines += [f"    {line}" for line in block.lines]
                continue
            if isinstance(block, sources.Term):
                lines += _fold(block.term.replace("`", ""), columns, "  ")
            indent = "      " if isinstance(block, sources.Term) else "  "
            lines += _fold(block.text.replace("`", ""), columns, indent)
    return "\n".join([*lines, ""])


def spelling(option: Parameter) -> str:
    """An option as help shows it: short names first, then the value."""
    names = ", ".join(sorted(option.flags, key=lambda flag: flag.startswith("--")))
    names += f", {', '.join(option.negative)}" if option.negative else ""
    return f"{names} {option.value}".rstrip()


def fold_shell(line: str, columns: int, indent: str) -> list[str]:
    """A shell line folded by backslashes, at a pipe where there is one, so that it can be pasted as it stands."""
    if len(indent + line) <= columns:
        return [indent + line]
    pieces = re.split(r" (?=\| )", line)
    if any(piece.count("'") % 2 or piece.count('"') % 2 for piece in pieces):  # a pipe inside quotes
        pieces = [line]
    words = [word for piece in pieces for word in _parts(piece, columns - len(indent) - 6)]
    lines = [indent + words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) + 2 <= columns:
            lines[-1] += f" {word}"
        else:
            lines[-1] += " \\"
            lines.append(f"{indent}    {word}")
    return lines


def _parts(piece: str, room: int) -> list[str]:
    """A stage of a pipe as what must stay together: the whole where it fits, else its words, quotes unbroken."""
    if len(piece) <= room:
        return [piece]
    words: list[str] = []
    for word in re.findall(r"""#.*|(?:[^\s'"]|'[^']*'|"[^"]*")+""", piece):
        before = words[-1] if words else ""
        if before in ("<", ">", ">>") or (before.startswith("-") and word[0] not in "-<>#|"):
            words[-1] += f" {word}"  # a file with its redirection, a value with its option
        else:
            words.append(word)
    return words


def _left(names: Iterable[str]) -> int:
    return max((len(name) for name in names if len(name) <= COLUMN), default=0)


def _table(entries: list[tuple[str, str, str]], columns: int, left: int | None = None) -> list[str]:
    """Lines of two columns: a name, and what it means with its notes."""
    left = _left([name for name, _, _ in entries]) if left is None else left
    lines: list[str] = []
    margin = " " * (left + 4)
    for name, meaning, notes in entries:
        text = _fold(f"{meaning}  {notes}".rstrip(), columns, margin, keep=notes)
        if len(name) <= left:
            lines += [f"  {name.ljust(left)}  {text[0].lstrip()}", *text[1:]]
        else:
            lines += [*_fold_choices(f"  {name}", columns), *text]
    return lines


def _fold_choices(line: str, columns: int) -> list[str]:
    """An option whose choices are too many for one line, folded between them."""
    lines = [line]
    while len(lines[-1]) > columns:
        cut = lines[-1].rindex("|", 0, columns) + 1
        lines[-1:] = [lines[-1][:cut], " " * 6 + lines[-1][cut:]]
    return lines


def _fold(text: str, columns: int, indent: str, keep: str = "") -> list[str]:
    """A paragraph as lines; the notes at its end stay together."""
    glued = text.replace(keep, keep.replace(" ", "\xa0")) if keep and len(keep) + len(indent) < columns else text
    folded = textwrap.wrap(
        glued, columns, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
    return [line.replace("\xa0", " ") for line in folded]
