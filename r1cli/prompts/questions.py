"""Question templates: how a data set's question is put, with the form in which the answer is wanted.

They follow DeepSeek-R1's advice: everything in the user's turn and no system prompt, steps and a box for mathematics,
a last line with a letter for choices (as in simple-evals), one fenced block for code. How a question then becomes the
text that a policy continues is the business of templates.py.
"""

import re
from collections.abc import Callable
from pathlib import Path

from r1cli.errors import InputError, nearest

TEMPLATES = {
    "none": "{prompt}",
    "boxed": "{prompt}\n\nPlease reason step by step, and put your final answer within \\boxed{}.",
    "letter": (
        "Answer the following multiple choice question. Think step by step before answering. The last line of your "
        "response should be of the form 'Answer: $LETTER' (without quotes), where LETTER is one of {letters}.\n\n"
        "{prompt}\n\n{choices}"
    ),
    "code": "{prompt}\n\n{code_format}",
}
_FIELD = re.compile(r"\{\{([A-Za-z_][\w .-]*)\}\}|\{([A-Za-z_][\w .-]*)\}")


def load(name: str) -> str:
    """The template of a name, or a file's text; raises InputError when it is neither or has no {prompt} in it."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    try:
        text = Path(name).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError):
        known = ", ".join(TEMPLATES)
        raise InputError(
            f"no prompt template {name}: expected one of {known} or a text file{nearest(name, TEMPLATES)}"
        ) from None
    if not any(match[2] == "prompt" for match in _FIELD.finditer(text)):
        raise InputError(f"prompt template {name} has no {{prompt}} in it")
    return text


def fill(template: str, value: Callable[[str], str]) -> str:
    """The template with each `{name}` replaced by value(name), which may raise; `{{name}}` stands for `{name}`.

    Braces around anything but a name stay as they are, so that TeX needs no escapes. What a field brings in is not
    filled again.
    """
    return _FIELD.sub(lambda match: f"{{{match[1]}}}" if match[1] else value(match[2]), template)


def code_format(tests: object, starter: str) -> str:
    """What to answer a programming question with: a completed starter, a function, or a program."""
    block = "in one block that begins with ```python and ends with ```"
    if starter.strip():
        return f"Complete this code, and give all of it {block}.\n\n```python\n{starter.rstrip()}\n```"
    if isinstance(tests, dict) and "fn_name" in tests:
        return f"Write a Python function `{tests['fn_name']}` that solves the problem, and give your code {block}."
    return (
        "Write a Python program that reads the input from standard input and writes the answer to standard output, "
        f"and give it {block}."
    )
