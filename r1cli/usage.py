"""The typer side of the command line: lines that are not ordinary, and errors in usage, by the same signatures.

Loaded only when a person reads help or has made a mistake; what a command does is not known here. The help itself is
ours (helping.py); typer reads the line that asks for it.
"""

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from r1cli import __version__, helping
from r1cli.options import Argument, Option
from r1cli.signatures import describe, read_docstring

# What the parser raises for a command line it cannot read; typer keeps its name to itself, not its subclass.
USAGE_ERROR: Any = typer.BadParameter.__base__

# What the parser calls a value that is no number, and what a person calls it.
NUMBERS = {"int range": "whole number", "integer": "whole number", "float range": "number", "float": "number"}

# What TRL, verl and OpenRLHF call our options; no likeness of letters leads from one to the other.
ELSEWHERE = {
    "--kl": ("beta", "kl-coef", "kl-loss-coef", "init-kl-coef"),
    "--group": ("num-generations", "n", "n-samples-per-prompt"),
    "--samples": ("num-generations", "n-samples-per-prompt"),
    "--lr": ("learning-rate", "actor-learning-rate"),
    "--max-tokens": ("max-completion-length", "max-new-tokens", "max-response-length", "generate-max-len"),
    "--clip-low": ("epsilon", "epsilon-low", "eps-clip", "clip-ratio", "clip-ratio-low"),
    "--clip-high": ("epsilon-high", "clip-ratio-high"),
    "--epochs": ("num-train-epochs", "num-iterations", "ppo-epochs", "max-epochs"),
    "--batch": ("batch-size", "train-batch-size", "per-device-train-batch-size"),
    "--out": ("output-dir", "save-path"),
}


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

    class Program(TyperGroup):
        def get_help(self, ctx: Any) -> str:
            summary, _, examples = read_docstring(root.__doc__ or "")
            sentences = {name: read_docstring(function.__doc__ or "")[0] for name, function in commands.items()}
            return helping.program_page(summary, examples, sentences).rstrip("\n")

    class OneCommand(TyperCommand):
        def get_help(self, ctx: Any) -> str:
            name = self.name or ""
            return helping.command_page(describe(name, commands[name])).rstrip("\n")

    app = typer.Typer(
        name="r1",
        cls=Program,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for name, function in commands.items():
        app.command(name, cls=OneCommand)(for_typer(function))
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


def usage_line(error: Any, command: str, words: Iterable[str] = ()) -> str:
    """What the parser raised as one line: the complaint, what may have been meant, and where the help is.

    `words` are what the user wrote after the command's name.
    """
    near = getattr(error, "possibilities", None)
    message = (error.message if near else error.format_message()).replace("o such option: ", "o such option ")
    message, _, typers_guess = message.rstrip(".").partition(". Did you mean ")
    for parsers, ours in NUMBERS.items():
        message = re.sub(rf"is not a valid {parsers}$", f"is not a {ours}", message)
    bundle = _bundle(error, words)
    message = message.replace(f"option {bundle[:2]}", f"option {bundle}") if bundle else message
    guess = _elsewhere(error, bundle) or typers_guess.rstrip("?")
    guess = guess or " or ".join(near or _long_option(error, bundle) or _choice(message))
    message = f"{message[:1].lower()}{message[1:]}; " + (f"did you mean {guess}? " if guess else "")
    return f"{message}see {command} --help"


def _bundle(error: Any, words: Iterable[str]) -> str:
    """The word with one dash that was read as a bundle of short options of which one does not exist, or nothing."""
    wrong = getattr(error, "option_name", "")[1:]
    return next((word for word in words if re.match(r"-\w\w", word) and wrong in word), "") if len(wrong) == 1 else ""


def _elsewhere(error: Any, bundle: str) -> str:
    """The option of the command that other programs call as it was written, or nothing."""
    written = re.sub(r"^-+|=.*|(?<=^-\w)\d+$", "", bundle or getattr(error, "option_name", "")).replace("_", "-")
    unknown = hasattr(error, "possibilities")  # other errors about an option may know no command
    known = {name for option in error.ctx.command.params for name in option.opts} if unknown and written else set()
    return next((ours for ours, theirs in ELSEWHERE.items() if written in theirs and ours in known), "")


def _long_option(error: Any, bundle: str) -> list[str]:
    """The option that was meant by a long name with one dash."""
    known = [name for option in error.ctx.command.params for name in option.opts] if bundle else []
    return difflib.get_close_matches(f"-{bundle.partition('=')[0]}", known, n=1)


def _choice(message: str) -> list[str]:
    """The choice nearest to a value that is none of them."""
    found = re.search(r"'([^']*)' is not one of (.*)$", message)
    return difflib.get_close_matches(found[1], re.findall(r"'([^']*)'", found[2]), n=2) if found else []
