"""What the signature and docstring of a command say, as data: help pages, man pages and completions are made of it.

Nothing is formatted here (helping.py, manual/) and no command line is read (arguments.py, usage.py).
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args, get_origin

from r1cli.arguments import flags_of, plain_type
from r1cli.options import COMMON_HEADINGS, LAST_HEADING, Argument

HELP_FLAGS = ("--help", "-h")
OPTIONS = "Options"  # the heading where a command names none


class Parameter(NamedTuple):
    """An option or a positional argument (which has no flags) of a command."""

    name: str
    flags: tuple[str, ...]
    negative: tuple[str, ...]
    metavar: str
    choices: tuple[str, ...]
    kind: type
    many: bool
    required: bool
    default: Any
    bounds: str
    help: str
    heading: str

    @property
    def switch(self) -> bool:
        """Whether the option takes no value."""
        return self.kind is bool

    @property
    def value(self) -> str:
        """How the value is shown: its metavar or its choices; empty for a switch."""
        return f"<{'|'.join(self.choices)}>" if self.choices else self.metavar

    @property
    def notes(self) -> str:
        """The default and the bounds, in brackets, or nothing."""
        parts = []
        if self.default not in (None, False, ()) and not self.required:
            parts.append(f"default: {self.default}")
        parts += [self.bounds] if self.bounds else []
        parts += ["required"] if self.required and self.flags else []
        return f"[{'; '.join(parts)}]" if parts else ""


class Command(NamedTuple):
    """A command: what its docstring says, and its parameters in the order of its signature."""

    name: str
    summary: str
    paragraphs: tuple[str, ...]
    examples: tuple[str, ...]
    parameters: tuple[Parameter, ...]

    @property
    def arguments(self) -> list[Parameter]:
        """The positional arguments."""
        return [parameter for parameter in self.parameters if not parameter.flags]

    @property
    def options(self) -> list[Parameter]:
        """The options, --help among them."""
        return [parameter for parameter in self.parameters if parameter.flags]

    def groups(self) -> dict[str, list[Parameter]]:
        """The options under their headings: the command's own first, what all commands have last."""
        found: dict[str, list[Parameter]] = {}
        for parameter in self.options:
            found.setdefault(parameter.heading, []).append(parameter)
        return {**{key: found[key] for key in found if key != LAST_HEADING}, LAST_HEADING: found[LAST_HEADING]}

    @property
    def usage(self) -> str:
        """The command line in short."""
        return " ".join(["r1", self.name, "[OPTIONS]", *(argument.metavar for argument in self.arguments)])


def describe(name: str, function: Callable[..., None]) -> Command:
    """A command by its name and its function."""
    headings = getattr(sys.modules.get(function.__module__), "HEADINGS", {})
    current = OPTIONS
    parameters = []
    for each in inspect.signature(function).parameters.values():
        current = headings.get(each.name, current)
        heading = COMMON_HEADINGS.get(each.name, current)
        parameters.append(_parameter(each, heading))
    parameters.append(
        Parameter("help", HELP_FLAGS, (), "", (), bool, False, False, False, "", "Show this and exit.", LAST_HEADING)
    )
    summary, paragraphs, examples = read_docstring(function.__doc__ or "")
    return Command(name, summary, paragraphs, examples, tuple(parameters))


def read_docstring(text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The first sentence, the paragraphs after it and the examples of a docstring; lines are joined."""
    blocks = [block.strip("\n") for block in inspect.cleandoc(text).replace("\b\n", "").split("\n\n")]
    examples = [block for block in blocks if block.startswith("Example")]
    paragraphs = [" ".join(block.split()) for block in blocks if block not in examples]
    lines = [line.strip() for block in examples for line in block.splitlines()[1:]]
    return paragraphs[0], tuple(paragraphs[1:]), tuple(lines)


def _parameter(parameter: inspect.Parameter, heading: str) -> Parameter:
    annotated, mark = get_args(parameter.annotation)
    kind, many = plain_type(annotated)
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    required = parameter.default is inspect.Parameter.empty
    default = None if required else parameter.default
    if isinstance(mark, Argument):
        return Parameter(
            parameter.name, (), (), mark.metavar, choices, kind, many, required, default, "", mark.help, ""
        )
    flags = flags_of(parameter.name, mark, kind is bool)
    negative = tuple(flag for flag, value in flags.items() if not value)
    metavar = "" if kind is bool or choices else mark.metavar or "TEXT"
    return Parameter(
        parameter.name,
        tuple(flag for flag in flags if flag not in negative),
        negative,
        metavar,
        choices,
        str if choices else kind,
        many,
        required,
        default,
        _bounds(metavar, mark.min, mark.max),
        mark.help,
        heading,
    )


def _bounds(name: str, low: float | None, high: float | None) -> str:
    if high is None:
        return "" if low is None else f"{name} >= {low:g}"
    return f"{name} <= {high:g}" if low is None else f"{low:g} <= {name} <= {high:g}"
