"""Completion for fish: one line for each option, with its help."""

from collections.abc import Sequence

from r1cli.manual import values
from r1cli.signatures import Command, Parameter

HEAD = """\
# fish completion for r1. Made by python -m r1cli.manual; do not edit.

# Whether the line is about this command, and as many of its arguments have been given (none: any number).
function __r1_at
    set -l words (commandline -opc)
    test "$words[2]" = "$argv[1]"; or return 1
    set -q argv[2]; or return 0
    set -l given 0
    set -l skip 0
    for word in $words[3..-1]
        if test $skip = 1
            set skip 0
        else if contains -- $word (__r1_valued $argv[1])
            set skip 1
        else if not string match -q -- '-?*' $word
            set given (math $given + 1)
        end
    end
    test $given -ge $argv[2]; and begin
        not set -q argv[3]; or test $given -le $argv[3]
    end
end

# Files with one of the suffixes, and folders to go on in.
function __r1_files
    set -l token (commandline -ct)
    for path in (__r1_expanded)
        if test -d $path
            __r1_path $path/
        else
            for suffix in $argv
                string match -q "*.$suffix" -- $path; and __r1_path $path
            end
        end
    end
end

# Folders by what is in them: a run has run.json, a model config.json; others only where they lead to one.
function __r1_checkpoints
    set -l found 0
    for path in (__r1_expanded)
        test -d $path; or continue
        for file in $argv
            if test -e $path/$file
                __r1_path $path checkpoint
                set found 1
                break
            else if count $path/*/$file > /dev/null
                __r1_path $path/
                set found 1
                break
            end
        end
    end
    test $found = 1; or __fish_complete_directories
end

# What begins like the word being typed, and how it is written there.
function __r1_expanded
    set -l token (string replace -r '^~/' $HOME/ -- (commandline -ct))
    for path in $token*
        echo $path
    end
end

function __r1_path
    if string match -q '~/*' -- (commandline -ct)
        set argv[1] (string replace $HOME/ '~/' -- $argv[1])
    end
    string join \\t -- $argv
end

"""


def script(commands: Sequence[Command]) -> str:
    """The completion file for fish."""
    lines = ["# The options of a command that take the next word.", "function __r1_valued", "    switch $argv[1]"]
    for command in commands:
        valued = [flag for option in command.options if not option.switch for flag in option.flags]
        lines += [f"        case {command.name}", f"            string split ' ' -- '{' '.join(valued)}'"]
    lines += ["    end", "end", "", "complete -c r1 -f"]
    first = "-n 'test (count (commandline -opc)) -eq 1'"
    for command in commands:
        lines.append(f"complete -c r1 {first} -a {command.name} -d {_quoted(command.summary)}")
    lines.append(f"complete -c r1 {first} -a help -d 'Show all about a command.'")
    lines.append(f"complete -c r1 {first} -s h -l help -d 'Show this and exit.'")
    lines.append(f"complete -c r1 {first} -l version -d 'Show the version.'")
    names = " ".join(command.name for command in commands)
    lines += [f"complete -c r1 -n '__r1_at help' -a '{names} stream'", ""]
    for command in commands:
        for place, argument in enumerate(command.arguments):
            at = f"__r1_at {command.name} {place}" + ("" if argument.many else f" {place}")
            what = _words(values.of(command.name, argument))
            lines += [f"complete -c r1 -n '{at}' -a {_quoted(what)}"] if what else []
        lines += [_option(command.name, option) for option in command.options]
        lines.append("")
    return HEAD + "\n".join(lines)


def _option(command: str, option: Parameter) -> str:
    names = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
    line = f"complete -c r1 -n '__r1_at {command}' {names}"
    if not option.switch:
        found = values.of(command, option)
        what = _words(found)
        line += "" if found.optional else " -x" if what or not found.places else " -r -F"
        line += f" -a {_quoted(what)}" if what else ""
    line += f" -d {_quoted(option.help)}"
    for flag in option.negative:
        line += f"\ncomplete -c r1 -n '__r1_at {command}' -l {flag[2:]} -d {_quoted(option.help)}"
    return line


def _words(value: values.Values) -> str:
    """What fish evaluates for the candidates; nothing where any file will do, or nothing is known."""
    parts = list(value.words)
    if value.places in ("runs", "models"):
        parts.append("(__r1_checkpoints run.json" + (" config.json)" if value.places == "models" else ")"))
    if value.places == "folders":
        parts.append("(__fish_complete_directories)")
    if value.suffixes:
        parts.append(f"(__r1_files {' '.join(value.suffixes)})")
    elif value.places == "files" and parts:
        parts.append("(__fish_complete_path)")
    return " ".join(parts)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
