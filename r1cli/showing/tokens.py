"""The tokens of a completion with how likely they were, from the sampler's log-probabilities."""

import math
from pathlib import Path
from typing import Any

from r1cli.errors import InputError
from r1cli.runs import locate
from r1cli.showing import pages
from r1cli.showing.layout import UNLIKELY, Span
from r1cli.showing.pages import Record


class Painter:
    """Colours completions by the tokenizer of their policy, or by that of one checkpoint."""

    def __init__(self, checkpoint: str | None = None):
        self.checkpoint = checkpoint
        self.known: dict[str, Any] = {}

    def spans(self, record: Record) -> tuple[Span, ...]:
        """The completion's tokens by their probability; unmarked where the record has no log-probs.

        Raises InputError where there is no tokenizer.
        """
        ids, logprobs = record.get("completion_ids"), record.get("logprobs")
        if not isinstance(ids, list) or not isinstance(logprobs, list) or len(ids) != len(logprobs):
            return pages.completion(record)
        if not all(type(token) is int and token >= 0 for token in ids):
            return pages.completion(record)
        if not all(isinstance(value, int | float) for value in logprobs):
            return pages.completion(record)
        pieces = self._pieces(self._tokenizer(record), ids, logprobs)
        sampling = record.get("sampling")
        prefill = sampling.get("prefill") if isinstance(sampling, dict) else None
        pieces.insert(0, (prefill if isinstance(prefill, str) else "", 0.0))
        return _styled(pieces)

    def _tokenizer(self, record: Record) -> Any:
        policy = record.get("policy")
        path = self.checkpoint or (policy.get("path") if isinstance(policy, dict) else None)
        if not isinstance(path, str):
            raise InputError("--tokens: a record does not name its policy; name the tokenizer with --tokenizer CKPT")
        if path not in self.known:
            self.known[path] = _load(path)
        return self.known[path]

    def _pieces(self, tokenizer: Any, ids: list[int], logprobs: list[float]) -> list[tuple[str, float]]:
        """The text of each token with its log-prob; tokens that make up one letter go together, by the least likely."""
        from tokenizers.decoders import DecodeStream

        decoder, pieces, least = DecodeStream(skip_special_tokens=False), [], 0.0
        for token, logprob in zip(ids, logprobs, strict=True):
            least = min(least, logprob)
            piece = decoder.step(tokenizer, token)
            if piece is not None:
                pieces.append((piece, least))
                least = 0.0
        return pieces


def _load(path: str) -> Any:
    from tokenizers import Tokenizer

    try:
        folder, _ = locate(path)
        return Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    except InputError as error:
        raise InputError(f"--tokens needs the tokenizer: {error}; or name another with --tokenizer") from None
    except Exception as error:  # the package raises nothing narrower
        raise InputError(f"--tokens: {path} has no tokenizer that can be read ({error})") from None


def _styled(pieces: list[tuple[str, float]]) -> tuple[Span, ...]:
    """Unlikely tokens by how unlikely they were, the rest of the thinking dimmed."""
    whole = "".join(piece for piece, _ in pieces)
    begin = whole.find("<think>")
    end = whole.find("</think>", begin) if begin >= 0 else -1
    end = len(whole) if begin >= 0 and end < 0 else end + len("</think>")
    spans, place = [], 0
    for piece, logprob in pieces:
        probability = math.exp(min(0.0, logprob))
        mark = next((style for limit, style in UNLIKELY if probability < limit), "")
        style = mark or ("dim" if begin >= 0 and begin <= place < end else "")
        place += len(piece)
        shown = pages.text(piece)
        if spans and spans[-1].style == style and not mark:
            spans[-1] = Span(spans[-1].text + shown, style)
        else:
            spans.append(Span(shown, style))
        if place == end and begin >= 0 and whole[end:].strip():
            spans.append(Span("\n"))
    return tuple(span for span in spans if span.text)
