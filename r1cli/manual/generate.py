"""All generated files by name: a man page for the program, each command and the stream, and completions for shells."""

from r1cli.app import COMMANDS, find
from r1cli.manual import bash, fish, pages, zsh
from r1cli.signatures import Command, describe


def files() -> dict[str, str]:
    """The content of every generated file by its path below the repository."""
    commands = described()
    made = {f"man/r1-{command.name}.1": pages.of_command(command, commands) for command in commands}
    made |= {"man/r1.1": pages.of_program(commands), "man/r1-stream.5": pages.of_stream()}
    shells = {"r1.bash": bash, "_r1": zsh, "r1.fish": fish}
    return made | {f"completions/{name}": shell.script(commands) for name, shell in shells.items()}


def described() -> list[Command]:
    """The commands in pipeline order."""
    return [describe(name, find(name)) for name in COMMANDS]
