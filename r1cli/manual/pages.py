"""The manual pages: which sections they have, what is generated in them and what is taken from the sources."""

from collections.abc import Sequence

from r1cli import usage
from r1cli.helping import STAGES, fold_shell
from r1cli.manual import roff, sources
from r1cli.manual.sources import Block, Literal, Paragraph, Sections, Term
from r1cli.signatures import Command, Parameter, read_docstring

COLUMNS = 69  # of an example: a page is indented, and by default 80 wide
LAST = ("EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO")
GENERATED = ("NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "ARGUMENTS", "OPTIONS", *LAST)
EXIT = (
    Term("0", "Done; also when the reader of standard output went away."),
    Term("1", "A failure while doing what was asked."),
    Term("2", "Bad usage or bad input: one line on standard error says what was found and what was expected."),
)
ELSEWHERE = Paragraph("What all commands heed is in r1(1).")


def of_command(command: Command, commands: Sequence[Command]) -> str:
    """The page of one command."""
    written = sources.load(f"r1-{command.name}")
    groups = {heading: [_option(option) for option in options] for heading, options in command.groups().items()}
    name = f"r1-{command.name}"
    sections: Sections = {
        "NAME": [_name(name, command.summary)],
        "SYNOPSIS": [Paragraph(f"`r1 {command.name}` [OPTIONS] {_synopsis(command)}".rstrip())],
        "DESCRIPTION": [Paragraph(text) for text in command.paragraphs or (command.summary,)],
    }
    sections["DESCRIPTION"] += written.get("DESCRIPTION", [])
    sections |= {heading: blocks for heading, blocks in written.items() if heading not in GENERATED}
    sections["EXAMPLES"] = examples(command)
    if command.arguments:
        sections["ARGUMENTS"] = [Term(roff.name_of(each.metavar), each.help) for each in command.arguments]
    sections |= {"OPTIONS": [], **groups}
    for heading in LAST:
        default = {"EXIT STATUS": [*EXIT], "ENVIRONMENT": [ELSEWHERE], "SEE ALSO": [_neighbours(command, commands)]}
        blocks = written.get(heading) or default.get(heading)
        if blocks:
            sections[heading] = blocks
    return roff.page(name, 1, sections, frozenset(groups))


def of_program(commands: Sequence[Command]) -> str:
    """The page of the program: its commands in pipeline order."""
    summary, _, _ = read_docstring(usage.root.__doc__ or "")
    written = sources.load("r1")
    groups: Sections = {}
    for command in commands:
        if command.name in STAGES:
            blocks: list[Block] = groups.setdefault(STAGES[command.name], [])
        blocks.append(Term(f"`r1-{command.name}`(1)", command.summary))
    every = " ".join(f"r1-{command.name}(1)," for command in commands)
    sections: Sections = {
        "NAME": [_name("r1", summary)],
        "SYNOPSIS": [Paragraph("`r1` COMMAND [OPTIONS] [ARGUMENTS]")],
        "DESCRIPTION": written["DESCRIPTION"],
        "COMMANDS": [],
        **groups,
        "OPTIONS": [
            Term(
                "`--help`, `-h`", "Show the commands; after a command, all about it. `r1 help COMMAND` does the same."
            ),
            Term("`--version`", "Show the version."),
        ],
        **{heading: blocks for heading, blocks in written.items() if heading != "DESCRIPTION"},
        "SEE ALSO": [Paragraph(f"{every} r1-stream(5)")],
    }
    return roff.page("r1", 1, sections, frozenset(groups))


def of_stream() -> str:
    """The page of the records and of the run directory."""
    written = sources.load("r1-stream")
    name = [_name("r1-stream", "records and run directories of r1")]
    return roff.page("r1-stream", 5, {"NAME": name, **written})


def examples(command: Command) -> list[Block]:
    """The examples of a command's page: those written for it, else those of its docstring."""
    written = sources.load(f"r1-{command.name}").get("EXAMPLES")
    lines = [line for example in command.examples for line in fold_shell(example, COLUMNS, "")]
    return written or [Literal(tuple(lines))]


def _name(name: str, summary: str) -> Paragraph:
    return Paragraph(f"{name} - {summary[:1].lower()}{summary[1:].rstrip('.')}")


def _synopsis(command: Command) -> str:
    return " ".join(argument.metavar for argument in command.arguments)


def _option(option: Parameter) -> Term:
    flags = sorted(option.flags, key=lambda flag: flag.startswith("--"))
    names = ", ".join(roff.typed(flag) for flag in (*flags, *option.negative))
    value = "CHOICE" if option.choices else option.metavar
    text = option.help
    if option.choices:
        text += f" CHOICE is {', '.join(f'`{choice}`' for choice in option.choices[:-1])} or `{option.choices[-1]}`."
    text = f"{text} {option.notes.replace(' ', roff.GLUE)}".rstrip()
    return Term(f"{names} {roff.name_of(value)}" if value else names, text)


def _neighbours(command: Command, commands: Sequence[Command]) -> Paragraph:
    """The commands before and after it in the pipeline."""
    place = [other.name for other in commands].index(command.name)
    near = [other.name for other in commands[max(0, place - 1) : place + 2] if other.name != command.name]
    return Paragraph(", ".join(["r1(1)", *(f"r1-{name}(1)" for name in near), "r1-stream(5)"]))
