"""Rows in, prompt records out: what is taken for what, which rows repeat, and what was left out and why.

A row that is a prompt record already (it has `prompt` or `messages`) and for which nothing was mapped passes as it is,
byte for byte where it was a line.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import orjson

from r1cli import stream
from r1cli.errors import InputError
from r1cli.prompts import questions
from r1cli.prompts.fields import ANSWER_NAMES, MISSING, PROMPT_NAMES, detect, find
from r1cli.prompts.formats import Row
from r1cli.prompts.presets import Preset
from r1cli.prompts.shapes import LeftOut, Plan, records
from r1cli.records import RESERVED, Record, as_prompt, digest


class Fields(NamedTuple):
    """What the user said of the fields; None where nothing was said."""

    prompt: str | None = None
    answer: str | None = None
    answer_from: str | None = None
    id: str | None = None
    task: str | None = None
    task_field: str | None = None
    template: str | None = None


class Tally:
    """What did not become a prompt: rows left out, by reason, and bad rows that were skipped."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self.skipped = 0

    def reasons(self) -> str:
        """`12 rows: 10 repeated, 2 without tests`, or nothing."""
        reasons = [f"{count} {reason}" for reason, count in self.left_out.most_common()]
        return f"{self.left_out.total()} rows: {', '.join(reasons)}" if reasons else ""


def with_fields(preset: Preset, said: Fields) -> Preset:
    """A preset with the user's fields, task and template in place of its own; raises InputError for what can't be."""
    if said.answer_from and preset.shape != "question":
        raise InputError(f"--answer-from is for questions with one answer; {preset.name} has another shape")
    changed: dict[str, Any] = {"template": questions.load(said.template or preset.template)}
    for name, value in (("prompt", said.prompt), ("answer", said.answer), ("id", said.id)):
        if value is not None:
            changed[name] = (value,)
    if said.answer_from:
        changed["answer_from"] = said.answer_from
    if said.task:
        changed["task"] = said.task
    return preset._replace(**changed)


def convert(
    rows: Iterable[Row],
    plan: Plan | None,
    said: Fields,
    tally: Tally,
    note: Callable[[str], None],
    *,
    skip_bad: bool = False,
    unique: bool = False,
) -> Iterator[bytes]:
    """Yields the lines of prompt records. Without a plan, the first row decides what the fields are, and that is noted.

    Raises InputError at a bad row, or counts it. A repeated question is counted and left out with `unique`; otherwise
    its id, when it is a digest, gets a number (`-2`), and one of the data set's own is an error.
    """
    source = iter(rows)
    if plan is None:
        first = _first_good(source, tally, skip_bad)
        if first is None:
            return
        source = chain([first], source)
        plan = guess(first, said, note)
    seen = _Seen(unique or (plan is not None and plan.preset.unique), tally)
    for row in source:
        try:
            if isinstance(row.record, InputError):
                raise row.record
            yield from seen.passed(row) if plan is None else seen.mapped(row, plan)
        except LeftOut as reason:
            tally.left_out[str(reason)] += 1
        except InputError:
            if not skip_bad:
                raise
            tally.skipped += 1


def _first_good(source: Iterator[Row], tally: Tally, skip_bad: bool) -> Row | None:
    for row in source:
        if not isinstance(row.record, InputError):
            return row
        if not skip_bad:
            raise row.record
        tally.skipped += 1
    return None


def guess(row: Row, said: Fields, note: Callable[[str], None]) -> Plan | None:
    """The plan for rows like this one: by what the user said, and by field names where only one can be meant.

    None: the rows are prompt records. What was taken for what is noted.
    """
    record, where = row.record, row.where
    assert isinstance(record, dict)
    if not any(said) and ("prompt" in record or record.get("messages") is not None):
        if isinstance(record.get("prompt"), list) and record.get("messages") is None:
            raise InputError(
                f'{where}: "prompt" is a list; take its messages by --prompt-field prompt, the text of one by '
                "--prompt-field prompt.0.content, or use a --preset"
            )
        return None
    options = next((name for name in ("choices", "options") if isinstance(record.get(name), list)), None)
    if options and not any(said):
        raise InputError(f'{where}: "{options}" makes these multiple choice; use a --preset (mmlu, mmlu-pro, gpqa)')
    prompt, answer, noted = said.prompt, said.answer, []
    if prompt is None:
        if record.get("messages") is not None and not any(name in record for name in PROMPT_NAMES):
            prompt = "messages"
        else:
            prompt = detect(record, PROMPT_NAMES, "--prompt-field", where, needed=True)
        noted.append(f'"{prompt}" as the prompt')
    if answer is None:
        answer = detect(record, ANSWER_NAMES, "--answer-field", where, needed=bool(said.answer_from))
        if answer == "solution" and not said.answer_from:
            how = "hashes" if "####" in str(record[answer]) else "raw or boxed"
            raise InputError(f'{where}: "solution" may be the answer or a worked solution; say --answer-from {how}')
        # An answer that ends as GSM8K's do is none yet, and would be taken for one.
        if answer and not said.answer_from and isinstance(record[answer], str) and "####" in record[answer]:
            raise InputError(f'{where}: "{answer}" holds a worked solution; say --answer-from hashes')
        noted.append(f'"{answer}" as the answer' if answer else "no answer")
    if noted:
        note(f"taking {' and '.join(noted)}")
    preset = Preset("", "", task=None, prompt=(prompt,), answer=(answer,) if answer else ())
    return Plan(with_fields(preset, said._replace(prompt=None, answer=None)), rest=True, task_field=said.task_field)


class _Seen:
    """Ids and questions so far: 8 bytes of digest each, in a set."""

    def __init__(self, unique: bool, tally: Tally):
        self.unique, self.tally = unique, tally
        self.questions: set[int] = set()
        self.ids: dict[int, int] = {}

    def passed(self, row: Row) -> Iterator[bytes]:
        """A prompt record as it came, with an id in front where there was none and without a rollout's keys."""
        prompt = as_prompt(row.record, row.where)
        if self._repeats(prompt.get("messages") or prompt.get("prompt")):
            return
        if row.raw is None:
            yield encode(prompt, row.where)
            return
        body = stream.without(row.raw, RESERVED)
        if "id" not in row.record:
            body = orjson.dumps({"id": prompt["id"]})[:-1] + b"," + body[1:]
        yield body + b"\n"

    def mapped(self, row: Row, plan: Plan) -> Iterator[bytes]:
        """The records of a row, each with an id of its own."""
        made = records(row.record, row.where, plan)
        asked = find(row.record, plan.preset.prompt)
        # The options belong to the question, in whatever order: they may be shuffled.
        choices = sorted(made[0].get("choices", ()))
        if self._repeats([made[0]["prompt"] if asked is MISSING else asked, choices]):
            return
        explicit = bool(plan.preset.id) or (plan.rest and "id" in row.record)
        for record in made:
            as_prompt(record, row.where)
            key = int(digest(record["id"]), 16)
            count = self.ids[key] = self.ids.get(key, 0) + 1
            if count > 1:
                if explicit:
                    raise InputError(
                        f'{row.where}: the id "{record["id"]}" came before, with another question; ids must be '
                        "unique (--id-field names another field)"
                    )
                record["id"] = f"{record['id']}-{count}"
            yield encode(record, row.where)

    def _repeats(self, question: Any) -> bool:
        if not self.unique:
            return False
        key = int(digest(question), 16)
        if key in self.questions:
            self.tally.left_out["repeated"] += 1
            return True
        self.questions.add(key)
        return False


def encode(record: Record, where: str) -> bytes:
    """A record as a line; raises InputError for text that has no UTF-8 (half a surrogate pair) and for NaN."""
    try:
        return orjson.dumps(record) + b"\n"
    except TypeError:
        pass
    try:  # integers beyond 64 bits
        return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: cannot be written as JSON ({str(error)[:60]})") from None
