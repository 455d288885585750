"""The program `r1`: its commands in pipeline order, and how it ends.

Every way out passes here: an error becomes one line and an exit code, a reader that went away is no error, and a signal
kills the process by that same signal, so that a shell loop stops.
"""

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import NoReturn

from r1cli import ui
from r1cli.arguments import parse
from r1cli.errors import NothingToRead, R1Error, ReaderGone

# In pipeline order: the command's name, its module under r1cli.commands and its function there.
COMMANDS = {
    "init": ("init", "init"),
    "prompts": ("prompts", "prompts"),
    "sample": ("sample", "sample"),
    "reward": ("reward", "reward"),
    "filter": ("filter", "filter_"),
    "grpo-step": ("grpo_step", "grpo_step"),
    "sft": ("sft", "sft"),
    "distill": ("distill", "distill"),
    "eval": ("eval", "eval_"),
    "show": ("show", "show"),
    "plot": ("plot", "plot"),
    "serve": ("serve", "serve"),
    "export": ("export", "export"),
    "rollback": ("rollback", "rollback"),
    "doctor": ("doctor", "doctor"),
}

# An option whose value may be left out, and the value it then has.
OPTIONAL_VALUES = {"--language": "auto"}


class UsageFault(R1Error):
    """A command line that could not be read."""

    code = 2


def dispatch(arguments: list[str]) -> None:
    """Runs the command that the line names: at once when it is an ordinary line, by way of typer otherwise."""
    if arguments == ["help", "stream"]:
        from r1cli import helping

        sys.stdout.write(helping.stream_page())
        return
    if arguments[:1] == ["help"]:
        arguments = [*(word for word in arguments[1:2] if word not in ("help", "r1")), "--help"]
    name = arguments[0] if arguments and arguments[0] in COMMANDS else None
    if name is not None:
        function = find(name)
        values = parse(function, arguments[1:])
        if values is not None:
            return function(**values)
    from r1cli import usage

    app = usage.build({each: find(each) for each in ([name] if name else COMMANDS)})
    try:
        return app(arguments or ["--help"], prog_name="r1", standalone_mode=False)
    except usage.USAGE_ERROR as error:
        raise UsageFault(usage.usage_line(error, " ".join(filter(None, ["r1", name])), arguments[1:])) from None


def find(name: str) -> Callable[..., None]:
    """A command's function."""
    module, function = COMMANDS[name]
    return getattr(import_module(f"r1cli.commands.{module}"), function)


def introduce(name: str) -> None:
    """Shows how a command is used to a person who has called it without what it needs; a script gets one line."""
    if all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        from r1cli import helping, signatures

        ui.introduce(helping.beginning(signatures.describe(name, find(name))))


class Interrupted(BaseException):
    """A signal that ends the program; the `finally` blocks run first."""


def main() -> NoReturn:
    """Runs the program and never returns; sys.argv is the command line."""
    received: list[int] = []
    if sys.stderr is None:  # 2>&- : what we say goes nowhere, and no file opened later may take its place
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the life of the process
        os.dup2(sys.stderr.fileno(), 2)

    def interrupt(number: int, frame: FrameType | None) -> None:
        if received or _importing(frame):  # a second Ctrl-C does not wait for the clean-up
            _die_by(number)
        received.append(number)
        raise Interrupted

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup and shells that start background jobs set signals to "ignore": so they stay.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    arguments = fill_optional_values(sys.argv[1:])
    names = [name for name in arguments[:1] if name in COMMANDS]
    code = 0
    try:
        dispatch(arguments)
    except BaseException as error:
        if received:  # also when a library made an error of its own of the interruption
            _die_by(received[0])
        code, message = explain(error)
        if message:
            ui.setup(names[0] if names else "", verbose=ui.verbose())
            if names and code == UsageFault.code and (arguments == names or isinstance(error, NothingToRead)):
                introduce(names[0])
            ui.error(message)
        if message and ui.verbose():
            import traceback

            traceback.print_exception(error)
    _leave(code)


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code that an error stands for, and the line to say about it."""
    if isinstance(error, ReaderGone | SystemExit):  # typer exits only when the reader of a help page went away
        return 0, ""
    if isinstance(error, R1Error):
        return error.code, str(error)
    if isinstance(error, MemoryError):
        return 1, "out of memory"
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("r1cli"):
        return 1, f"the package {error.name} is not installed; r1 doctor says what is missing here"
    if isinstance(error, OSError):
        return 1, f"{error.filename or 'cannot write'}: {error.strerror}"
    return 1, f"{type(error).__name__}: {error} (this is a bug; -v shows where)"


def fill_optional_values(arguments: list[str]) -> list[str]:
    """Gives options that may stand without a value their default one: `--language` becomes `--language=auto`."""
    filled: list[str] = []
    for place, word in enumerate(arguments):
        if word == "--":
            return filled + arguments[place:]
        following = arguments[place + 1] if place + 1 < len(arguments) else "-"
        bare = word in OPTIONAL_VALUES and following.startswith("-")
        filled.append(f"{word}={OPTIONAL_VALUES[word]}" if bare else word)
    return filled


def _importing(frame: FrameType | None) -> bool:
    """Whether a library is being loaded: nothing has to be cleaned up yet, and some swallow what is raised there."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _die_by(number: int) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _leave(code: int) -> NoReturn:
    ui.say_held()
    # Help and version went through sys.stdout, which may be a pipe whose reader has gone or a full disk.
    for out in filter(None, (sys.stdout, sys.stderr)):
        try:
            out.flush()
        except BrokenPipeError:
            continue
        except OSError as error:
            ui.error(f"cannot write: {error.strerror}")
            code = 1
    # Not sys.exit: a thread that still reads stdin would abort the interpreter, and torch takes its time to unload.
    os._exit(code)
