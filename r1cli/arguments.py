"""Reads an ordinary command line by a command's signature, without loading a parser library.

A client in a training loop starts thousands of times, and typer alone costs several times what such a client does.
Whatever is not ordinary (help, an error, a bundle of short flags, a value that begins with a dash) is left to typer,
which reads the same signature (usage.py); a test holds that both read alike.
"""

from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from r1cli.options import Argument, Option


class Reject(Exception):
    """Not an ordinary command line."""


def parse(function: Callable[..., None], words: list[str]) -> dict[str, Any] | None:
    """The keyword arguments for a command's function, or None when typer has to read the line."""
    try:
        return _parse(function, words)
    except (Reject, ValueError):
        return None


def flags_of(name: str, option: Option, boolean: bool) -> dict[str, bool]:
    """The words an option answers to, each with the value it stands for if the option is a switch."""
    flags = {}
    for names in option.names or (f"--{name.replace('_', '-')}",):
        positive, _, negative = names.partition("/")
        flags[positive] = True
        if negative and boolean:
            flags[negative] = False
    return flags


def plain_type(annotation: Any) -> tuple[Any, bool]:
    """A parameter's type without `| None` and list, and whether it was a list."""
    # `Literal[...] | None` is a Union to Python 3.11, `int | None` a UnionType.
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is list:
        return get_args(annotation)[0], True
    return annotation, False


def _parse(function: Callable[..., None], words: list[str]) -> dict[str, Any]:
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    given = function.__defaults__ or ()
    values = dict(zip(names[len(names) - len(given) :], given, strict=True))
    switches: dict[str, tuple[str, bool]] = {}
    options: dict[str, tuple[str, Option, Any, bool]] = {}
    arguments: list[tuple[str, Any, bool]] = []
    for name in names:
        annotated = function.__annotations__[name]
        (mark,) = annotated.__metadata__
        kind, many = plain_type(annotated.__origin__)
        if isinstance(mark, Argument):
            arguments.append((name, kind, many))
            continue
        for flag, value in flags_of(name, mark, kind is bool).items():
            if kind is bool:
                switches[flag] = (name, value)
            else:
                options[flag] = (name, mark, kind, many)
    positional: list[str] = []
    left = iter(words)
    for word in left:
        flag, equals, text = word.partition("=") if word.startswith("--") else (word, "", "")
        if not word.startswith("-") or word == "-":
            positional.append(word)
        elif flag in switches and not equals:
            name, values[name] = switches[flag]
        elif flag in options:
            name, mark, kind, many = options[flag]
            value = _convert(text if equals else next(left, "-?"), kind, mark)
            values[name] = [*(values[name] or ()), value] if many else value
        else:
            raise Reject
    for name, kind, many in arguments:
        taken = positional if many else positional[:1]
        positional = positional[len(taken) :]
        if taken:
            values[name] = [_convert(text, kind) for text in taken] if many else _convert(taken[0], kind)
    if positional or len(values) != len(names):
        raise Reject
    return values


def _convert(text: str, kind: Any, limits: Option | None = None) -> Any:
    if text.startswith("-") and text != "-":
        raise Reject
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise Reject
        return text
    if kind not in (str, int, float, Path):
        raise Reject
    value = kind(text)
    low, high = (limits.min, limits.max) if limits else (None, None)
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise Reject
    return value
