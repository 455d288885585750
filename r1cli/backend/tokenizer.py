"""A model folder's tokenizer: text to ids, ids to text, and its chat template.

The `tokenizers` package does the work, from tokenizer.json alone; slow tokenizers (vocab.json or tokenizer.model
without it) are refused. It knows nothing of prompts' templates for training (prompts/).
"""

import datetime
import json
from pathlib import Path
from typing import Any

from r1cli.backend.configfiles import end_tokens, read_json, require_file
from r1cli.errors import InputError

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Tokenizer:
    """Text to ids and back for one model folder; made by `load`."""

    def __init__(
        self,
        backend: Any,
        *,
        end_tokens: tuple[int, ...],
        specials: dict[str, str],
        chat_template: str | None,
        add_bos: bool,
    ):
        self.backend = backend
        self.end_tokens = end_tokens
        self.specials = specials
        self.chat_template = chat_template
        self._first = backend.token_to_id(specials["bos_token"]) if add_bos and "bos_token" in specials else None
        self._compiled: Any = None

    @classmethod
    def load(cls, folder: str | Path) -> "Tokenizer":
        """Reads tokenizer.json and, where there, tokenizer_config.json and chat_template.jinja.

        Raises InputError when tokenizer.json is missing or one of them is broken.
        """
        import tokenizers

        path = require_file(folder, "tokenizer.json", "the tokenizer")
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises plain Exception
            raise InputError(f"{path}: not a tokenizer ({error}); restore the file") from None
        # A training pipeline's truncation and padding, saved by accident, would cut prompts in silence.
        backend.no_truncation()
        backend.no_padding()
        settings = read_json(folder, "tokenizer_config.json") or {}
        named = {**(read_json(folder, "special_tokens_map.json") or {}), **settings}
        specials = {name: _content(named[name]) for name in SPECIAL if named.get(name)}
        ends = end_tokens(folder)
        if not ends and "eos_token" in specials:
            found = backend.token_to_id(specials["eos_token"])
            ends = () if found is None else (found,)
        return cls(
            backend,
            end_tokens=ends,
            specials=specials,
            chat_template=_chat_template(folder, settings),
            add_bos=bool(settings.get("add_bos_token")),
        )

    def encode(self, text: str, add_special: bool) -> list[int]:
        """Token ids of a text; with `add_special`, also what the tokenizer puts around one (a beginning-of-text token).

        Special tokens written out in the text become their ids in both cases.
        """
        ids = self.backend.encode(text, add_special_tokens=add_special).ids
        return self._begun(ids) if add_special else ids

    def _begun(self, ids: list[int]) -> list[int]:
        # Older Llama-style folders ask for the token in tokenizer_config.json and leave it out of tokenizer.json.
        return [self._first, *ids] if self._first is not None and ids[:1] != [self._first] else ids

    def encode_many(self, texts: list[str], add_special: bool) -> list[list[int]]:
        """As encode, of many texts at once, by as many threads as the `tokenizers` package takes."""
        found = [each.ids for each in self.backend.encode_batch_fast(texts, add_special_tokens=add_special)]
        return [self._begun(ids) if add_special else ids for ids in found]

    def vocabulary(self) -> dict[str, int]:
        """All tokens, added ones too, by their text."""
        return self.backend.get_vocab(with_added_tokens=True)

    def special_ids(self) -> frozenset[int]:
        """The end tokens and all others that the folder calls special."""
        added = self.backend.get_added_tokens_decoder()
        return frozenset(self.end_tokens) | {number for number, token in added.items() if token.special}

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, special tokens included and no white space tidied up."""
        return self.backend.decode(ids, skip_special_tokens=False)

    def render_chat(self, messages: list[dict[str, Any]], add_generation_prompt: bool = True) -> str:
        """The text of a conversation under the folder's chat template.

        Raises InputError when there is none or when the template refuses the messages.
        """
        import jinja2

        if self.chat_template is None:
            raise InputError("this model folder has no chat template; use another --template")
        try:
            if self._compiled is None:
                self._compiled = _compile(self.chat_template)
            return self._compiled.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self.specials,
            )
        except jinja2.TemplateError as error:
            raise InputError(f"the chat template failed: {error}") from None


def _content(token: str | dict[str, Any]) -> str:
    """The text of a special token, which the files hold as a string or as an object."""
    return token["content"] if isinstance(token, dict) else token


def _chat_template(folder: str | Path, settings: dict[str, Any]) -> str | None:
    """chat_template.jinja, else tokenizer_config.json's chat_template, which may be a list of named ones."""
    path = Path(folder) / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):
        by_name = {entry["name"]: entry["template"] for entry in template}
        return by_name.get("default")
    return template


def _compile(source: str) -> Any:
    """A sandboxed template in the dialect of published chat templates (Hugging Face's chat templating guide)."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks what the assistant wrote; here its content is simply text."""

        tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(["name:endgeneration"], drop_needle=True)

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    # Not jinja2's own filter: that one escapes HTML and would change the prompt.
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment.from_string(source)
