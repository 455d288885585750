"""Drops what shares a run of words with an evaluation question or its reference solution (DeepSeek-R1: 10 words).

The questions are indexed once; a document is then one pass over its words. Paraphrases are not found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from sys import intern
from typing import TYPE_CHECKING

from r1cli.errors import InputError
from r1cli.filters.fields import Filter, completion, field
from r1cli.records import Record
from r1cli.rewards.ngrams import ngrams, shifted, words

if TYPE_CHECKING:
    from r1cli.filters.settings import Settings

QUESTIONS = ("prompt", "problem", "question", "question_content", "messages")
SOLUTIONS = ("solution", "reference_solution", "answer", "final_answer")

# Runs of words that stand in a tenth of a file's questions, and in three at least, are instructions or turns of phrase.
COMMON_SHARE, COMMON_LEAST = 0.1, 3


class Index:
    """The n-grams of evaluation sets, by 64-bit hash, each with the place of a question that has it.

    A question of fewer than n words is compared whole instead, punctuation included: "1 + 2" is not "1 * 2".
    """

    def __init__(self, n: int):
        self.n = n
        # Every n words hold, at any third place of the text, 8 of 10 words: a text without such 8 needs no closer look.
        self.part = n - n // 4
        self.parts: set[int] = set()
        self.places: list[str] = []
        self.grams: dict[int, int] = {}
        self.short: dict[str, int] = {}
        self.common = 0

    def add_file(self, name: str, records: Iterable[tuple[Record, str]]) -> None:
        """Indexes one evaluation set of (record, place); raises InputError for a record without a question."""
        seen: set[str] = set()
        runs: list[tuple[int, list[str]]] = []
        documents: Counter[int] = Counter()
        for record, place in records:
            question, solutions = _texts(record, place)
            # The same question with several answers is one document, or its own words would count as common.
            if _plain(question) in seen:
                continue
            seen.add(_plain(question))
            self.places.append(place)
            number = len(self.places) - 1
            if len(words(question)) < self.n:
                self.short.setdefault(_plain(question), number)
            versions = [text for each in (question, *solutions) for text in (each, shifted(each)) if text is not None]
            mine = [(number, list(map(intern, words(text)))) for text in versions]
            documents.update({hash(gram) for _, tokens in mine for gram in ngrams(tokens, self.n)})
            runs += mine
        if not seen:
            raise InputError(f"{name} holds no evaluation questions")
        limit = max(COMMON_LEAST, COMMON_SHARE * len(seen))
        common = {gram for gram, count in documents.items() if count >= limit}
        self.common += len(common)
        for number, tokens in runs:
            for gram in ngrams(tokens, self.n):
                if hash(gram) not in common:
                    self.grams.setdefault(hash(gram), number)
                    self.parts.update(map(hash, ngrams(gram, self.part)))

    def find(self, text: str) -> str | None:
        """The place of a question that the text shares n words with, or that it repeats whole; None without one."""
        tokens = words(text)
        if len(tokens) < self.n:
            number = self.short.get(_plain(text))
        elif self.parts.isdisjoint(map(hash, ngrams(tokens, self.part, self.n - self.part + 1))):
            number = None
        else:
            found = (self.grams.get(gram) for gram in map(hash, ngrams(tokens, self.n)))
            number = next((number for number in found if number is not None), None)
        return None if number is None else self.places[number]


def decontaminate(settings: Settings) -> Filter:
    """Drops a record whose prompt, or with decontaminate_answers whose completion too, the index knows."""
    index, answers = settings.value("decontaminate"), settings.decontaminate_answers

    def check(record: Record) -> str | None:
        place = index.find(prompt_text(record))
        if place is None and answers:
            place = index.find(completion(record))
        return place and f"contaminated: {place}"

    return check


def prompt_text(record: Record) -> str:
    """What a record asks: its prompt, or all its messages; raises InputError when it has neither."""
    if record.get("messages") is None:
        return field(record, "prompt", str, "prompts and rollouts have it, or messages")
    turns = field(record, "messages", list, "expected objects with role and content")
    texts = (turn.get("content") for turn in turns if isinstance(turn, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def _texts(record: Record, place: str) -> tuple[str, list[str]]:
    """The question and the solutions of a record of an evaluation set, whatever the case of its keys."""
    fields = {key.lower(): value for key, value in record.items()}
    questions = [fields[key] for key in QUESTIONS if isinstance(fields.get(key), str)]
    if isinstance(fields.get("messages"), list):
        questions.append(prompt_text(fields))
    if not questions:
        raise InputError(
            f"{place}: no question to index (found {', '.join(list(record)[:8]) or 'nothing'}); expected one of "
            f"{', '.join(QUESTIONS)}"
        )
    return "\n".join(questions), [fields[key] for key in SOLUTIONS if isinstance(fields.get(key), str)]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
