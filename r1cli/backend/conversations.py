"""From a record to the pieces of text that a model is fine-tuned on: what it reads, and what it is to write.

The prompt's text is made by the run's template, as r1 sample makes it. Texts become tokens elsewhere (examples.py),
piece by piece: so a token never lies across the border between what is read and what is written, as it never does when
the model samples.
"""

from typing import Any, NamedTuple

import numpy as np

from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError
from r1cli.prompts import templates
from r1cli.records import Record, as_prompt, may, need, need_prompt

ROLES = ("system", "developer", "user", "assistant", "tool")


class Piece(NamedTuple):
    """Text, or ids where they are known already; `special` says that the tokenizer adds its own around the text."""

    text: str = ""
    ids: Any = None
    special: bool = False
    written: bool = False


class Draft(NamedTuple):
    """One example on its way: its pieces, the first of which is the prompt; and what is worth a word to the user.

    `other_prompt`: ids of a prompt that the run's template does not make, to be held against the first piece's.
    """

    pieces: list[Piece]
    cut: bool = False
    retokenized: bool = False
    other_prompt: list[int] | None = None


class Drafter:
    """Makes drafts for one tokenizer and template (a name, or a text with `{prompt}` in it)."""

    def __init__(self, tokenizer: Tokenizer, template: str, vocabulary: int, *, retokenize: bool = False):
        self.tokenizer, self.template, self.vocabulary, self.retokenize = tokenizer, template, vocabulary, retokenize
        self.specials = tokenizer.special_ids()
        self.turn_end = self._turn_end() if template == "chat" and tokenizer.chat_template else None
        ends = tokenizer.end_tokens
        # r1 sample stops at the model's end tokens and at nothing else.
        self.end = self.turn_end if self.turn_end in ends else ends[0] if ends else None

    def draft(self, record: Record, where: str) -> Draft:
        """The pieces of a checked record; raises InputError for one that cannot be trained on."""
        if self.end is None:
            raise InputError("the checkpoint names no end token (eos_token_id in generation_config.json): add it there")
        completion = may(record, "completion", str, where)
        if completion is None and isinstance(record.get("messages"), list):
            return self._conversation(record, where)
        prompt = _prompt(record, where)
        self._check_roles(prompt.get("messages") or [], where)
        completion = need(record, "completion", str, where)
        return self._answer(record, completion, prompt, where)

    def _answer(self, record: Record, completion: str, question: Record, where: str) -> Draft:
        """Prompt and completion, with the end token unless a limit cut the completion off."""
        if not completion.strip():
            raise InputError(f'{where}: "completion" is empty; expected what the model is to write')
        shown = templates.render(self.template, question, self.tokenizer, where)
        sampling = record.get("sampling")
        begun = (may(sampling, "prefill", str, f"{where}: sampling") if isinstance(sampling, dict) else None) or ""
        # An answer is begun once, a thought opened once: by our template, by the sampler's, or by what the model wrote.
        opened, text = shown.prefill or "", completion
        if opened and begun.startswith(opened):
            begun = begun.removeprefix(opened)
        elif opened and not begun:
            text = completion.removeprefix(opened)
        cut = record.get("finish") == "length"
        ids, retokenized = self._ids(record, completion, where) if text == completion else (None, False)
        pieces = [Piece(shown.text, special=shown.special)]
        if begun:
            pieces.append(Piece(begun, written=True))
        pieces.append(Piece(text, ids=ids, written=True))
        if not cut and not self._ended(text, ids):
            pieces.append(Piece(ids=[self.end], written=True))
        return Draft(pieces, cut, retokenized, record.get("prompt_ids") if ids and not begun else None)

    def _ended(self, text: str, ids: list[int] | None) -> bool:
        ends = self.tokenizer.end_tokens
        if ids is not None:
            return ids[-1] in ends
        return any(text.endswith(self.tokenizer.decode([end])) for end in ends)

    def _ids(self, record: Record, completion: str, where: str) -> tuple[list[int] | None, bool]:
        """The record's own completion ids, checked against its text; and whether they were passed over."""
        ids = may(record, "completion_ids", list, where)
        if not ids:
            return None, False
        array = np.array(ids)
        if array.dtype.kind != "i" or array.ndim != 1:
            raise InputError(f'{where}: "completion_ids" must be a list of integers')
        known = array.min() >= 0 and array.max() < self.vocabulary
        # As r1 sample writes the text: without the end token.
        read = ids[:-1] if ids[-1] in self.tokenizer.end_tokens and record.get("finish") != "length" else ids
        if known and completion in (self.tokenizer.decode(read), self.tokenizer.decode(ids)):
            return ids, False
        if self.retokenize:
            return None, True
        what = "they decode to another text than its completion" if known else f"{array.max()} is no token of it"
        raise InputError(
            f'{where}: "completion_ids" are of another tokenizer than this checkpoint\'s, or the text was changed '
            f"({what}); --retokenize trains on the text"
        )

    def _conversation(self, record: Record, where: str) -> Draft:
        """A conversation whose assistant turns are what is learnt."""
        messages = _prompt(record, where)["messages"]
        self._check_roles(messages, where)
        if all(message["role"] != "assistant" for message in messages):
            raise InputError(f'{where}: no "completion", and no assistant turn in "messages"; expected one of them')
        if self.template == "chat":
            return Draft(self._turns(messages, where))
        last = messages[-1]
        if last["role"] != "assistant":
            raise InputError(f'{where}: "messages" must end with an assistant turn, found {last["role"]}')
        return self._answer({}, last["content"], {"messages": messages[:-1]}, where)

    def _check_roles(self, messages: list[Record], where: str) -> None:
        for number, message in enumerate(messages, 1):
            if message["role"] not in ROLES:
                raise InputError(
                    f'{where}: message {number} has the role "{message["role"]}"; expected one of {", ".join(ROLES)}'
                )

    def _turns(self, messages: list[Record], where: str) -> list[Piece]:
        """The pieces of a conversation under the chat template, found by rendering it turn by turn.

        Raises InputError unless each rendering is the beginning of the next, and holds what was said as it is: else
        the model would be trained on another text than the one it reads when it is used.
        """
        last = max(number for number, message in enumerate(messages) if message["role"] == "assistant")
        whole = self._render(messages[: last + 1], False)
        pieces, at = [], 0
        for number in range(last + 1):
            message, turn = messages[number], f"message {number + 1}"
            if message["role"] != "assistant":
                if message["content"].strip() not in whole:
                    raise InputError(f"{where}: the chat template leaves out {turn} (role {message['role']})")
                continue
            content = message["content"].strip()
            if not content:
                raise InputError(f"{where}: {turn} (assistant) is empty; expected what the model is to write")
            before, after = self._render(messages[:number], True), self._render(messages[: number + 1], False)
            if not (whole.startswith(before) and whole.startswith(after) and after.startswith(before)):
                raise InputError(
                    f"{where}: the chat template renders {turn} otherwise when more follows (many cut earlier "
                    'thinking); give the turns before as "messages" and this one as "completion"'
                )
            end = after.rfind(content, at) + len(content)
            if end <= len(before):
                raise InputError(
                    f"{where}: the chat template changes {turn} (many cut thinking out); give the turns before as "
                    '"messages" and this one as "completion"'
                )
            pieces += [Piece(whole[at : len(before)]), Piece(after[len(before) : end], written=True)]
            # What follows the end token, a line break mostly, is the template's: the model never writes it.
            closing, at = self._first_special(after[end:]), end
            if closing is not None:
                text = self.tokenizer.decode([closing])
                at = after.index(text, end) + len(text)
            if closing is not None or number == last:
                pieces.append(Piece(ids=[self.end if closing is None else closing], written=True))
        return pieces

    def _render(self, messages: list[Record], add_generation_prompt: bool) -> str:
        return self.tokenizer.render_chat(messages, add_generation_prompt)

    def _first_special(self, text: str) -> int | None:
        """The special token that a text begins with."""
        ids = self.tokenizer.encode(text, False) if text else []
        return ids[0] if ids and ids[0] in self.specials else None

    def _turn_end(self) -> int | None:
        """The token that ends an assistant's turn under the chat template, None when it is none or can't be told."""
        said = "Yes."
        try:
            text = self._render([{"role": "user", "content": "?"}, {"role": "assistant", "content": said}], False)
        except InputError:
            return None
        return self._first_special(text.rpartition(said)[2])


def _prompt(record: Record, where: str) -> Record:
    """The record's checked prompt; ids are no matter here, so they may be of any type."""
    if record.get("messages") is None:
        need_prompt(record, where)
    return as_prompt({"id": "", **{key: record[key] for key in ("prompt", "messages") if key in record}}, where)
