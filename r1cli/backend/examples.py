"""Examples for supervised fine-tuning: read and tokenised once, kept as a few flat arrays.

Lists of Python numbers would take up to nine times the memory. What the tokens of a record are is decided in
conversations.py, what happens to them in finetuning.py.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from r1cli import stream
from r1cli.backend.base import Lines
from r1cli.backend.conversations import Draft, Drafter, Piece
from r1cli.backend.sft import Example
from r1cli.errors import InputError

TOGETHER = 512  # records tokenised at once, by several threads


@dataclass(slots=True)
class Examples:
    """N examples with T tokens in all.

    tokens [T] int32; starts [N + 1] int64: where each begins; spans [S, 2] int32 and span_starts [N + 1] int64: the
    trained stretches of each, within it; keys [N] uint64: digests of the prompts' tokens. What comes after an
    example's last trained token is not kept, for it changes nothing.
    """

    tokens: np.ndarray
    starts: np.ndarray
    spans: np.ndarray
    span_starts: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, [N]."""
        return np.diff(self.starts)

    @property
    def labels(self) -> int:
        """Trained tokens of all examples."""
        return int((self.spans[:, 1] - self.spans[:, 0]).sum())

    def example(self, row: int) -> Example:
        """One example in the form that a trainer takes."""
        ids = self.tokens[self.starts[row] : self.starts[row + 1]].tolist()
        spans = self.spans[self.span_starts[row] : self.span_starts[row + 1]]
        first = int(spans[0, 0])
        trained = None
        if len(spans) > 1:
            mask = np.zeros(len(ids), bool)
            for begin, end in spans:
                mask[begin:end] = True
            trained = mask[first:].tolist()
        # Where the prompt itself is trained, what comes before the first trained token is no one's prompt.
        group = int(self.keys[row]) if first > 1 else -1 - row
        return Example(ids[:first], ids[first:], trained, group)

    def digest(self) -> str:
        """A fingerprint of the tokens and of what is trained, in this order."""
        found = hashlib.blake2b(digest_size=8)
        for array in (self.tokens, self.starts, self.spans, self.span_starts):
            found.update(np.ascontiguousarray(array))
        return found.hexdigest()


class Rows(NamedTuple):
    """Some of the examples, made when they are asked for."""

    examples: Examples
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Example:
        return self.examples.example(int(self.rows[place]))


class Growing:
    """A flat array that grows at its end, without ever being a list of Python numbers."""

    def __init__(self, kind: type):
        self.held, self.size = np.empty(1 << 12, kind), 0

    def extend(self, values: Iterable[int] | np.ndarray) -> None:
        """Appends the values."""
        values = np.asarray(values, self.held.dtype)
        if self.size + len(values) > len(self.held):
            # In place: the pages are moved and not copied, so there are never two of a large array.
            self.held.resize(max(self.size + len(values), len(self.held) * 3 // 2), refcheck=False)
        self.held[self.size : self.size + len(values)] = values
        self.size += len(values)

    def array(self) -> np.ndarray:
        """What is there, without a copy."""
        return self.held[: self.size]


@dataclass(slots=True)
class Counts:
    """What was met on the way, for one word to the user at the end."""

    bad: int = 0
    first_bad: str = ""
    dropped: int = 0
    long: int = 0
    cut: int = 0
    retokenized: int = 0
    other_prompt: int = 0


class Reader:
    """Reads records into examples; made for one checkpoint and one way of training."""

    def __init__(self, drafter: Drafter, context: int, *, loss: str, max_length: int | None, skip_bad: bool):
        self.drafter, self.context = drafter, context
        self.loss, self.max_length, self.skip_bad = loss, max_length, skip_bad

    def read(self, lines: Lines, note: Callable[[str], None], what: str = "examples") -> Examples:
        """The examples of JSON lines given with their `file:line`; says by `note` what was left out and why.

        Raises InputError for a line that cannot be trained on, with its place, unless bad ones are skipped; and when
        nothing is left.
        """
        counts = Counts()
        tokens, starts = Growing(np.int32), Growing(np.int64)
        spans, span_starts, keys = Growing(np.int32), Growing(np.int64), Growing(np.uint64)
        starts.extend([0])
        span_starts.extend([0])
        drafts = self._drafts(lines, counts)
        while chunk := list(islice(drafts, TOGETHER)):
            for encoded, (draft, where) in zip(self._encode([draft for draft, _ in chunk]), chunk, strict=True):
                try:
                    ids, trained = self._assemble(draft, encoded, where)
                    if self.max_length is not None and len(ids) > self.max_length:
                        counts.long += 1
                        continue
                    self._check(ids, where)
                except InputError as error:
                    self._bad(error, counts)
                    continue
                counts.cut += draft.cut
                counts.retokenized += draft.retokenized
                counts.other_prompt += draft.other_prompt is not None and draft.other_prompt != encoded[0]
                tokens.extend(ids)
                starts.extend([tokens.size])
                spans.extend(np.array(trained).ravel())
                span_starts.extend([spans.size // 2])
                prompt = np.asarray(encoded[0], np.int32)
                keys.extend([int.from_bytes(hashlib.blake2b(prompt, digest_size=8).digest(), "little")])
        self._tell(counts, len(keys.array()), note, what)
        return Examples(tokens.array(), starts.array(), spans.array().reshape(-1, 2), span_starts.array(), keys.array())

    def _drafts(self, lines: Lines, counts: Counts) -> Iterator[tuple[Draft, str]]:
        for raw, where in lines:
            try:
                record = stream.parse(raw, where)
                if record.get("dropped"):
                    counts.dropped += 1
                    continue
                yield self.drafter.draft(record, where), where
            except InputError as error:
                placed = str(error) if str(error).startswith(where) else f"{where}: {error}"
                self._bad(InputError(placed), counts)

    def _bad(self, error: InputError, counts: Counts) -> None:
        if not self.skip_bad:
            raise error
        counts.first_bad = counts.first_bad or str(error)
        counts.bad += 1

    def _encode(self, drafts: list[Draft]) -> list[list[list[int]]]:
        """Token ids of each piece of each draft."""
        wanted: dict[bool, dict[str, list[int]]] = {False: {}, True: {}}
        for piece in (piece for draft in drafts for piece in draft.pieces if piece.ids is None):
            wanted[piece.special][piece.text] = []
        for special, texts in wanted.items():
            texts.update(zip(texts, self.drafter.tokenizer.encode_many(list(texts), special), strict=True))

        def ids(piece: Piece) -> list[int]:
            return wanted[piece.special][piece.text] if piece.ids is None else piece.ids

        return [[ids(piece) for piece in draft.pieces] for draft in drafts]

    def _assemble(self, draft: Draft, encoded: list[list[int]], where: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The example's ids up to its last trained token, and its trained stretches, none of which begins at 0."""
        ids: list[int] = []
        trained: list[tuple[int, int]] = []
        for piece, part in zip(draft.pieces, encoded, strict=True):
            begin = max(1, len(ids))  # nothing comes before the first token that could predict it
            ids += part
            if (piece.written or self.loss == "all") and len(ids) > begin:
                if trained and trained[-1][1] == begin:
                    begin = trained.pop()[0]
                trained.append((begin, len(ids)))
        if not trained:
            raise InputError(f"{where}: no token to train on is left; expected a prompt and a completion")
        return ids[: trained[-1][1]], trained

    def _check(self, ids: list[int], where: str) -> None:
        if len(ids) > self.context:
            raise InputError(
                f"{where}: {len(ids)} tokens, the model's context is {self.context}; shorten it, or leave such "
                "examples out with --max-length"
            )
        if max(ids) >= self.drafter.vocabulary:
            size = self.drafter.vocabulary
            raise InputError(f"{where}: token {max(ids)} is outside the model's vocabulary of {size}")

    def _tell(self, counts: Counts, left: int, note: Callable[[str], None], what: str) -> None:
        if not left:
            reasons = [f"{counts.bad} bad (the first: {counts.first_bad})"] if counts.bad else []
            reasons += [f"{counts.dropped} dropped by a filter"] if counts.dropped else []
            reasons += [f"{counts.long} longer than --max-length"] if counts.long else []
            raise InputError(f"no {what}: {', '.join(reasons) or 'the input is empty'}")
        if counts.bad:
            note(f"warning: skipped {counts.bad} bad lines; the first: {counts.first_bad}")
        if counts.dropped:
            note(f"left out {counts.dropped} {what} that a filter marked as dropped")
        if counts.long:
            note(f"left out {counts.long} {what} longer than {self.max_length} tokens")
        if counts.cut:
            note(
                f"warning: {counts.cut} completions were cut off by a limit and get no end token; "
                "r1 filter --finish-reason stop leaves them out"
            )
        if counts.retokenized:
            note(f"tokenised the text of {counts.retokenized} completions whose ids are of another tokenizer")
        if counts.other_prompt:
            note(f"{counts.other_prompt} {what} were sampled with another prompt; trained with the run's template")


def split(examples: Examples, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to train on and to validate on: about `share` of the prompts, all examples of a prompt on one side.

    Raises InputError when one side is empty.
    """
    held = examples.keys < np.uint64(min(share * 2.0**64, 2**64 - 1))
    train, validation = np.flatnonzero(~held), np.flatnonzero(held)
    if share and not (len(train) and len(validation)):
        side = "validation" if len(train) else "training"
        raise InputError(
            f"--validation-share {share:g} of {len(np.unique(examples.keys))} prompts leaves none for {side}; "
            "choose another share, or name a file with --validation"
        )
    return train, validation
