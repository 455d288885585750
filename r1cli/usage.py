"""The typer side of the command line: help pages, and errors in usage, from the same signatures as arguments.py.

Loaded only when a person reads help or has made a mistake; what a command does is not known here.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args

import typer

from r1cli import __version__
from r1cli.options import Argument, Option

# What the parser raises for a command line it cannot read; typer keeps its name to itself, not its subclass.
USAGE_ERROR: Any = typer.BadParameter.__base__


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"r1 {__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The DeepSeek-R1 pipeline as Unix tools: JSON lines in, JSON lines out.

    \b
    Examples:
      r1 init ckpt --from tiny
      r1 sample ckpt | r1 reward --format --accuracy | r1 grpo-step | jq .
      r1 eval ckpt
    """


def build(commands: Mapping[str, Callable[..., None]]) -> typer.Typer:
    """The program with these commands as a typer app."""
    app = typer.Typer(
        name="r1",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for name, function in commands.items():
        app.command(name)(for_typer(function))
    return app


def for_typer(function: Callable[..., None]) -> Callable[..., None]:
    """A function that typer reads like the command's own, with typer's marks in place of ours."""
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        kind, mark = get_args(parameter.annotation)
        parameters.append(parameter.replace(annotation=Annotated[kind, _mark(mark)]))

    def command(**values: Any) -> None:
        function(**values)

    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _mark(mark: Option | Argument) -> Any:
    if isinstance(mark, Argument):
        return typer.Argument(metavar=mark.metavar, help=mark.help)
    return typer.Option(*mark.names, metavar=mark.metavar, min=mark.min, max=mark.max, help=mark.help)


def usage_line(error: Any, command: str) -> str:
    """What the parser raised as one line: the complaint, what may have been meant, and where the help is."""
    near = getattr(error, "possibilities", None)
    message = error.message if near else error.format_message()
    message += f". Did you mean {' or '.join(near)}?" if near else ""
    message = message.replace("o such option: ", "o such option ").replace(". Did", "; did").rstrip(".")
    message += "" if message.endswith("?") else ";"
    return f"{message[:1].lower()}{message[1:]} see {command} --help"
