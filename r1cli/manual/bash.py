"""Completion for bash: one function with the tables written in. It starts no process: a TAB costs a millisecond.

Works from bash 3.2 on and without the bash-completion package.
"""

from collections.abc import Sequence

from r1cli.manual import values
from r1cli.signatures import Command, Parameter

HEAD = """\
# bash completion for r1. Made by python -m r1cli.manual; do not edit.

# Adds the words that begin with what has been typed.
_r1_words() {
    local word
    for word; do
        [[ $word == "$_r1_typed"* ]] && COMPREPLY+=("$word")
    done
}

# Adds paths as they are to stand on the line; one with a / at its end goes on.
_r1_paths() {
    local path IFS=/
    if [[ -z $_r1_home ]] && [[ -n $_r1_quote || "$*" != *[^a-zA-Z0-9_./~:@%+,=-]* ]]; then
        COMPREPLY+=("$@")
        return 0
    fi
    for path; do
        [[ -n $_r1_home ]] && path="~/${path#"$HOME"/}"
        [[ -z $_r1_quote && $path == *[^a-zA-Z0-9_./~:@%+,=-]* ]] && printf -v path %q "$path"
        COMPREPLY+=("$path")
    done
}

# Adds files with one of the suffixes (none: any).
_r1_plain() {
    local path
    local -a found=()
    for path in "$_r1_path"*; do
        if (($# == 0)); then
            [[ -f $path ]] && found+=("$path")
        elif [[ " $* " == *" ${path##*.} "* ]]; then
            found+=("$path")
        fi
    done
    ((${#found[@]})) && _r1_paths "${found[@]}"
}

# Adds folders, to name or to go on in.
_r1_folders() {
    local -a found=("$_r1_path"*/)
    [[ -d ${found[0]} ]] && _r1_paths "${found[@]}"
}

_r1_files() {
    _r1_folders
    _r1_plain "$@"
}

# Adds folders by what is in them: a run has run.json, a model config.json. Others only where they lead to one.
_r1_checkpoints() {
    local folder file found before=${#COMPREPLY[@]}
    for folder in "$_r1_path"*/; do
        [[ -d $folder ]] || continue
        for file; do
            [[ -e $folder$file ]] && _r1_paths "${folder%/}" && continue 2
        done
        for file; do
            for found in "$folder"*/"$file"; do
                [[ -e $found ]] && _r1_paths "$folder" && continue 3
            done
        done
    done
    [[ ${#COMPREPLY[@]} -gt $before ]] || _r1_folders
}

"""

TAIL = """\
_r1() {
    local _r1_typed=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
    local options='' valued=' ' optional=' ' last=0 place=0 index word
    COMPREPLY=()
    # Bash cuts words at = and at : ; put --option=value together again.
    if [[ $_r1_typed == = ]]; then
        _r1_typed=''
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    # What stands on the line may be quoted; what lies on disk is not.
    local _r1_quote='' _r1_home=''
    [[ $_r1_typed == [\\"\\']* ]] && _r1_quote=${_r1_typed:0:1} && _r1_typed=${_r1_typed:1}
    local _r1_path=${_r1_typed//\\\\/}
    [[ $_r1_path == "~/"* ]] && _r1_home=1 _r1_path=$HOME/${_r1_path:2}
    if ((COMP_CWORD == 1)); then
        _r1_words @COMMANDS@ help --help --version
        return
    fi
    _r1_command "$command"
    if [[ $valued == *" $previous "* ]]; then
        [[ $optional == *" $previous "* && $_r1_typed == -* ]] && _r1_words $options || _r1_value "$command $previous"
    elif [[ $_r1_typed == -* ]]; then
        _r1_words $options
    else
        for ((index = 2; index < COMP_CWORD; index++)); do
            word=${COMP_WORDS[index]}
            if [[ $valued == *" $word "* ]]; then
                [[ $optional == *" $word "* && ${COMP_WORDS[index + 1]} == -* ]] || ((index++))
                [[ ${COMP_WORDS[index]} == = ]] && ((index++))
            elif [[ $word != -* || $word == - ]]; then
                ((place++))
            fi
        done
        ((++place > last)) && ((place = last))
        ((place)) && _r1_value "$command $place"
        [[ ${#COMPREPLY[@]} -gt 0 || -n $_r1_typed ]] || _r1_words $options
    fi
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]]; then
        compopt -o nospace 2> /dev/null
    fi
}

complete -F _r1 r1
"""


def script(commands: Sequence[Command]) -> str:
    """The completion file for bash."""
    names = " ".join(command.name for command in commands)
    tail = TAIL.replace("@COMMANDS@", names)
    return HEAD + _tables(commands) + _values(commands, names) + tail


def _tables(commands: Sequence[Command]) -> str:
    """What is known of each command: its options, those that take a value, and its last argument."""
    lines = ["# Sets what there is to know of a command.", "_r1_command() {", "    case $1 in"]
    for command in commands:
        valued = [flag for option in command.options if not option.switch for flag in option.flags]
        bare = [f for o in command.options if values.of(command.name, o).optional for f in o.flags]
        every = [flag for option in command.options for flag in (*option.flags, *option.negative)]
        lines += [f"        {command.name})"]
        lines += _assigned("options", " ".join(flag for flag in every if flag.startswith("--")))
        lines += _assigned("valued", f" {' '.join(valued)} ")
        lines += _assigned("optional", f" {' '.join(bare)} ") if bare else []
        lines += [f"            last={len(command.arguments)}", "            ;;"]
    lines += ["        help) last=1 ;;", "    esac", "}", "", ""]
    return "\n".join(lines)


def _assigned(name: str, value: str) -> list[str]:
    return [f"            {name}='{value}'"]


def _values(commands: Sequence[Command], names: str) -> str:
    """What completes each value; options and arguments that are completed alike share a branch."""
    alike: dict[str, list[str]] = {f"_r1_words {names} stream": ["help 1"]}
    for command in commands:
        for place, argument in enumerate(command.arguments, 1):
            _add(alike, argument, command.name, [str(place)])
        for option in command.options:
            if not option.switch:
                _add(alike, option, command.name, option.flags)
    lines = ["# Adds what completes an option's value, or the argument at a place.", "_r1_value() {", "    case $1 in"]
    for action, places in alike.items():
        lines += ["        " + " | ".join(f"'{place}'" for place in places) + ")", f"            {action}"]
        lines += ["            ;;"]
    return "\n".join([*lines, "    esac", "}", "", ""])


def _add(alike: dict[str, list[str]], parameter: Parameter, command: str, places: Sequence[str]) -> None:
    action = _action(values.of(command, parameter))
    if action:
        alike.setdefault(action, []).extend(f"{command} {place}" for place in places)


def _action(value: values.Values) -> str:
    suffixes = f" {' '.join(value.suffixes)}".rstrip()
    parts = [f"_r1_words {' '.join(value.words)}"] if value.words else []
    if value.places in ("runs", "models"):
        parts.append("_r1_checkpoints run.json" + (" config.json" if value.places == "models" else ""))
        parts += [f"_r1_plain{suffixes}"] if suffixes else []
    elif value.places:
        parts.append(f"_r1_{value.places}{suffixes}")
    return "; ".join(parts)
