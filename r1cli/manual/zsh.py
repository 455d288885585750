"""Completion for zsh: `_arguments` with every option's help, and what its values are."""

from collections.abc import Sequence

from r1cli.manual import values
from r1cli.signatures import Command, Parameter

HEAD = """\
#compdef r1
# zsh completion for r1. Made by python -m r1cli.manual; do not edit.

# Folders by what is in them: a run has run.json, a model config.json; others only where they lead to one.
_r1_leads() {
    local file
    for file; do
        [[ -e $REPLY/$file ]] && return 0
        local -a below=($REPLY/*/$file(N))
        (($#below)) && return 0
    done
    return 1
}
_r1_leads_to_runs() { _r1_leads run.json }
_r1_leads_to_models() { _r1_leads run.json config.json }
_r1_runs() { _path_files -g '*(-/+_r1_leads_to_runs)' || _path_files -/ }
_r1_models() { _path_files -g '*(-/+_r1_leads_to_models)' || _path_files -/ }

_r1_words() {
    local -a words=($@)
    local -a open=(${(M)words:#*=}) whole=(${words:#*=})
    (($#whole)) && compadd -- $whole
    (($#open)) && compadd -S '' -- $open
}

"""

TAIL = """\
_r1() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C \\
        '(- *)'{-h,--help}'[Show this and exit.]' \\
        '(- *)--version[Show the version.]' \\
        '1: :->command' \\
        '*:: :->rest' && return
    case $state in
        command) _describe -t commands 'r1 command' _r1_commands ;;
        rest)
            curcontext=${curcontext%:*}-$words[1]:
            ((${+functions[_r1_$words[1]]})) && _r1_$words[1]
            ;;
    esac
}

_r1 "$@"
"""


def script(commands: Sequence[Command]) -> str:
    """The completion file for zsh."""
    names = "\n".join(f"    {_quoted(f'{command.name}:{command.summary}')}" for command in commands)
    every = " ".join(command.name for command in commands)
    parts = [HEAD, f"local -a _r1_commands\n_r1_commands=(\n{names}\n    'help:Show all about a command.'\n)\n\n"]
    parts += [_function(command) for command in commands]
    return "".join([*parts, f"_r1_help() {{\n    _arguments '1:command:({every} stream)'\n}}\n\n", TAIL])


def _function(command: Command) -> str:
    specs = [_option(command.name, option) for option in command.options]
    specs += [_argument(command.name, place, each) for place, each in enumerate(command.arguments, 1)]
    return f"_r1_{command.name}() {{\n    _arguments -s \\\n        " + " \\\n        ".join(specs) + "\n}\n\n"


def _option(command: str, option: Parameter) -> str:
    flags = [*option.flags, *option.negative]
    kept = "*" if option.many else f"({' '.join(flags)})" if len(flags) > 1 else ""
    text = option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    value = ""
    if not option.switch:
        found = values.of(command, option)
        value = f"{':' * (2 if found.optional else 1)}{_label(option)}:{_action(found)}"
    # --long=value and --long value, -s value and -svalue
    names = [flag if option.switch else f"{flag}=" if flag.startswith("--") else f"{flag}+" for flag in flags]
    if len(names) == 1:
        return _quoted(f"{kept}{names[0]}[{text}]{value}")
    return f"{_quoted(kept)}{{{','.join(names)}}}{_quoted(f'[{text}]{value}')}"


def _argument(command: str, place: int, argument: Parameter) -> str:
    found = values.of(command, argument)
    begin = "*" if argument.many else str(place)
    return _quoted(f"{begin}:{_label(argument)}:{_action(found)}")


def _label(parameter: Parameter) -> str:
    return parameter.name.strip("_").replace("_", " ")


def _action(value: values.Values) -> str:
    words = " ".join(value.words)
    if words and not value.places and not any(word.endswith("=") for word in value.words):
        return f"({words})"
    pattern = f' -g "*.({"|".join(value.suffixes)})(-.)"' if value.suffixes else ""
    parts = [f"_r1_words {words}"] if words else []
    if value.places in ("runs", "models"):
        parts.append(f"_r1_{value.places}")
    if value.places == "files" or (value.places in ("runs", "models") and pattern):
        parts.append(f"_files{pattern}")
    if value.places == "folders":
        parts.append("_files -/")
    return f"{{{'; '.join(parts)}}}" if parts else " "


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
