"""Prompt templates: how a question becomes the text that the policy continues.

`r1-zero` is the paper's plain-text template, `chat` the checkpoint's own chat template, `raw` the question as it is; a
file with `{prompt}` in it is a template of the user's. Tokenizing is the backend's business.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from r1cli import stream
from r1cli.errors import InputError, nearest

# DeepSeek-R1, table 1. No full stop after the question (the paper's table ends its own sentence there) and no space
# after "Assistant:": byte-level tokenizers put the space into the first generated token.
R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, "
    "i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: {prompt} Assistant:"
)
NAMES = ("r1-zero", "chat", "raw")


class ChatTokenizer(Protocol):
    """What the `chat` template needs of a tokenizer."""

    chat_template: str | None

    def render_chat(self, messages: list[dict[str, Any]]) -> str:
        """The text of a conversation, ready for the assistant's turn."""


def load(name: str) -> str:
    """The template to send to a backend: a known name as it is, a file's text; raises InputError for neither."""
    if name in NAMES:
        return name
    try:
        text = Path(name).read_text()
    except OSError:
        raise InputError(
            f"no template {name}: expected one of {', '.join(NAMES)} or a file{nearest(name, NAMES)}"
        ) from None
    if "{prompt}" not in text:
        raise InputError(f"template {name} has no {{prompt}} in it")
    return text


class Rendered(NamedTuple):
    """A prompt's text; whether the tokenizer adds its special tokens (a chat template writes its own); and the end of
    the text that already belongs to the answer, None where there is none.
    """

    text: str
    special: bool
    prefill: str | None


def read_shots(file: Path) -> list[dict[str, str]]:
    """The worked examples of a file: objects of prompt and completion. Raises InputError for a line without them."""
    shots = []
    for line in stream.read([file], check=lambda record, where: record):
        shot = {}
        for key in ("prompt", "completion"):
            shot[key] = line.record.get(key)
            if not isinstance(shot[key], str) or not shot[key].strip():
                raise InputError(f'{line.where}: "{key}" of a worked example must be a text that is not empty')
        shots.append(shot)
    if not shots:
        raise InputError(f"{file} holds no examples; expected lines with prompt and completion")
    return shots


def render(
    template: str,
    prompt: dict[str, Any],
    tokenizer: ChatTokenizer,
    where: str,
    *,
    shots: Sequence[dict[str, str]] = (),
    prefill: str | None = None,
) -> Rendered:
    """The prompt's text: worked examples in the same template, the question, and the beginning of its answer.

    Raises InputError for several messages in a plain-text template, or for a checkpoint without a chat template.
    """
    if template == "chat":
        if not tokenizer.chat_template:
            raise InputError("the checkpoint has no chat template; use --template r1-zero, raw or a file")
        text = tokenizer.render_chat(conversation(prompt, shots))
    else:
        before = (_plain(template, shot["prompt"]) + _apart(shot["completion"]) + "\n\n" for shot in shots)
        text = "".join(before) + _plain(template, _question(prompt, where))
    opened = "<think>" if text.rstrip().endswith("<think>") else ""
    return Rendered(text + (prefill or ""), template != "chat", opened + (prefill or "") or None)


def conversation(prompt: dict[str, Any], shots: Sequence[dict[str, str]] = ()) -> list[dict[str, Any]]:
    """The prompt's messages, worked examples before them as earlier turns, but after a system message."""
    messages = list(prompt.get("messages") or [{"role": "user", "content": prompt["prompt"]}])
    turns = [
        {"role": role, "content": shot[key]}
        for shot in shots
        for role, key in (("user", "prompt"), ("assistant", "completion"))
    ]
    begin = 1 if messages[0].get("role") == "system" else 0
    return messages[:begin] + turns + messages[begin:]


def _question(prompt: dict[str, Any], where: str) -> str:
    messages = prompt.get("messages")
    if messages is None:
        return prompt["prompt"]
    if len(messages) != 1 or messages[0]["role"] != "user":
        raise InputError(f"{where}: a conversation of {len(messages)} messages needs --template chat")
    return str(messages[0]["content"])


def _plain(template: str, question: str) -> str:
    return {"r1-zero": R1_ZERO, "raw": "{prompt}"}.get(template, template).replace("{prompt}", question)


def _apart(completion: str) -> str:
    """The completion with the space that the sampler's first token would bring."""
    return completion if completion[0].isspace() else f" {completion}"
