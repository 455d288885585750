"""Prompt templates: how a question becomes the text that the policy continues.

`r1-zero` is the paper's plain-text template, `chat` the checkpoint's own chat template, `raw` the question as it is; a
file with `{prompt}` in it is a template of the user's. Tokenizing is the backend's business.
"""

from pathlib import Path
from typing import Any, Protocol

from r1cli.errors import InputError

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
        raise InputError(f"no template {name}: expected one of {', '.join(NAMES)} or a file") from None
    if "{prompt}" not in text:
        raise InputError(f"template {name} has no {{prompt}} in it")
    return text


def render(template: str, prompt: dict[str, Any], tokenizer: ChatTokenizer, where: str) -> tuple[str, bool]:
    """The prompt's text, and whether the tokenizer is to add its special tokens (a chat template writes its own).

    Raises InputError for several messages in a plain-text template, or for a checkpoint without a chat template.
    """
    messages = prompt.get("messages")
    if template == "chat":
        if not tokenizer.chat_template:
            raise InputError("the checkpoint has no chat template; use --template r1-zero, raw or a file")
        return tokenizer.render_chat(messages or [{"role": "user", "content": prompt["prompt"]}]), False
    if messages is not None:
        if len(messages) != 1 or messages[0]["role"] != "user":
            raise InputError(f"{where}: a conversation of {len(messages)} messages needs --template chat")
        question = str(messages[0]["content"])
    else:
        question = prompt["prompt"]
    text = {"r1-zero": R1_ZERO, "raw": "{prompt}"}.get(template, template)
    return text.replace("{prompt}", question), True
