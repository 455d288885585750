"""A teacher behind a URL: the log-probabilities of tokens that a student sampled, from a server that tells them.

vLLM does (`prompt_logprobs` of /completions, on token ids); OpenAI's API has no such thing. Such a teacher says what it
thinks of given tokens, and not which others it finds likely.
"""

import math
from collections.abc import Sequence
from typing import Any

from r1cli.backend.api import Refused, Server
from r1cli.backend.completions import Model
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError, R1Error

NEEDED = "on-policy distillation needs prompt_logprobs, as vLLM has them: serve the teacher by it, or name a checkpoint"


class RemoteTeacher:
    """One model of a server as a teacher; a context manager."""

    def __init__(self, url: str, name: str | None, **tuning: Any):
        self.server = Server(url, **tuning)
        self.model = Model(self.server, name)

    def __enter__(self) -> "RemoteTeacher":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    def check(self, text: str, tokenizer: Tokenizer) -> None:
        """Raises InputError unless the server tells log-probs and cuts a text into the same tokens as the student."""
        ours = tokenizer.encode(text, True)
        body = {**self._body(ours), "prompt": text, "return_token_ids": True}
        try:
            answer = self.server.submit("POST", "/completions", lambda: body).result()
        except Refused as error:
            raise InputError(f"{error}; {NEEDED}") from None
        choice = _choice(answer)
        if "prompt_token_ids" not in choice or "prompt_logprobs" not in choice:
            raise InputError(f"{self.server.url} tells no token ids and log-probs of a prompt; {NEEDED}")
        if choice["prompt_token_ids"] != ours:
            raise InputError(
                f"{self.server.url}: {self.model.name} has another tokenizer than the student (a prompt has "
                f"{len(choice['prompt_token_ids'])} and {len(ours)} tokens): its probabilities can't be compared; "
                "distil from its rollouts"
            )

    def score(self, sequences: Sequence[tuple[list[int], list[int]]]) -> list[list[float]]:
        """Log-probs at temperature 1 of the completion tokens of (prompt ids, completion ids) pairs, one list each.

        Raises R1Error when the server fails for good or answers nonsense.
        """
        asked = [
            self.server.submit("POST", "/completions", lambda ids=prompt + completion: self._body(ids))
            for prompt, completion in sequences
        ]
        return [self._read(future.result(), *pair) for future, pair in zip(asked, sequences, strict=True)]

    def _body(self, ids: list[int]) -> dict[str, Any]:
        # A server samples at least one token; it is not looked at.
        return {"model": self.model.name, "prompt": ids, "max_tokens": 1, "temperature": 1.0, "prompt_logprobs": 0}

    def _read(self, answer: dict[str, Any], prompt: list[int], completion: list[int]) -> list[float]:
        told = _choice(answer).get("prompt_logprobs")
        try:
            if len(told) != len(prompt) + len(completion):
                raise ValueError
            found = [
                float(entry[str(token)]["logprob"])
                for entry, token in zip(told[len(prompt) :], completion, strict=True)
            ]
            if not all(map(math.isfinite, found)):
                raise ValueError
        except (TypeError, ValueError, KeyError):
            raise R1Error(f"{self.server.url}: the answer lacks the log-prob of a token that it was given") from None
        return found


def _choice(answer: dict[str, Any]) -> dict[str, Any]:
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else {}
