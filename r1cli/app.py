"""The program `r1`: its commands in pipeline order, and how it ends.

Every way out passes here: an error becomes one line and an exit code, a reader that went away is no error, and a signal
kills the process by that same signal, so that a shell loop stops.
"""

import os
import signal
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from r1cli import __version__, ui
from r1cli.commands.eval import eval_
from r1cli.commands.export import export
from r1cli.commands.grpo_step import grpo_step
from r1cli.commands.init import init
from r1cli.commands.prompts import prompts
from r1cli.commands.reward import reward
from r1cli.commands.rollback import rollback
from r1cli.commands.sample import sample
from r1cli.commands.serve import serve
from r1cli.commands.show import show
from r1cli.errors import R1Error, ReaderGone

# An option whose value may be left out, and the value it then has.
OPTIONAL_VALUES = {"--language": "auto"}

app = typer.Typer(
    name="r1",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, command in {
    "init": init,
    "prompts": prompts,
    "sample": sample,
    "reward": reward,
    "grpo-step": grpo_step,
    "eval": eval_,
    "show": show,
    "serve": serve,
    "export": export,
    "rollback": rollback,
}.items():
    app.command(name)(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"r1 {__version__}")
        raise typer.Exit


@app.callback()
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


class Interrupted(BaseException):
    """A signal that ends the program; the `finally` blocks run first."""


def main() -> NoReturn:
    """Runs the program and never returns; sys.argv is the command line."""
    received: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        if received:  # a second Ctrl-C does not wait for the clean-up
            _die_by(number)
        received.append(number)
        raise Interrupted

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup and shells that start background jobs set signals to "ignore": so they stay.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    sys.argv[1:] = fill_optional_values(sys.argv[1:])
    code = 0
    try:
        app()
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except ReaderGone:
        code = 0
    except R1Error as error:
        code = _fail(error, error.code)
    except Interrupted:
        _die_by(received[0])
    except MemoryError as error:
        code = _fail(error, 1, "out of memory")
    except Exception as error:
        code = _fail(error, 1, f"{type(error).__name__}: {error} (this is a bug; -v shows where)")
    _leave(code)


def fill_optional_values(arguments: list[str]) -> list[str]:
    """Gives options that may stand without a value their default one: `--language` becomes `--language=auto`."""
    filled = []
    for place, word in enumerate(arguments):
        if word == "--":
            return filled + arguments[place:]
        following = arguments[place + 1] if place + 1 < len(arguments) else "-"
        bare = word in OPTIONAL_VALUES and following.startswith("-")
        filled.append(f"{word}={OPTIONAL_VALUES[word]}" if bare else word)
    return filled


def _fail(error: BaseException, code: int, message: str | None = None) -> int:
    ui.error(message or str(error))
    if ui.verbose():
        traceback.print_exception(error)
    return code


def _die_by(number: int) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _leave(code: int) -> NoReturn:
    # Help and version went through sys.stdout, which may be a pipe whose reader has gone or a full disk.
    for out in (sys.stdout, sys.stderr):
        try:
            out.flush()
        except BrokenPipeError:
            continue
        except OSError as error:
            ui.error(f"cannot write: {error.strerror}")
            code = 1
    # Not sys.exit: a thread that still reads stdin would abort the interpreter, and torch takes its time to unload.
    os._exit(code)
