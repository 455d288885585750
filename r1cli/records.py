"""The one place that knows the stream's reserved keys: their names, types, and what makes a batch complete.

Every other key belongs to the user and passes through untouched. Records are plain dicts; nothing here reads or writes
them (stream.py does), and nothing here imports more than the standard library.
"""

import json
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from r1cli.errors import InputError

Record = dict[str, Any]


class Prompt(NamedTuple):
    """A prompt: its record, its `file:line`, and its line as the user wrote it (with an id, without rollout keys)."""

    record: Record
    where: str
    line: bytes


ROLLOUT_KEYS = (
    "completion", "prompt_ids", "completion_ids", "logprobs", "finish", "usage", "group", "batch", "policy",
    "sampling",
)  # fmt: skip
REWARD_KEYS = ("rewards", "reward", "reward_info")
RESERVED = frozenset(ROLLOUT_KEYS + REWARD_KEYS + ("dropped",))

_TYPES = {str: "a string", list: "a list", dict: "an object", int: "an integer", float: "a number"}


def digest(*parts: object, size: int = 8) -> str:
    """A stable hexadecimal digest of JSON-able parts, `size` bytes of BLAKE2b."""
    import hashlib  # loads OpenSSL, which the clients of a backend can do without

    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def sample_key(seed: int, iteration: int, draw: int, prompt: str, index: int) -> int:
    """The 64-bit seed of one sample, a keyed hash: independent of batch order and of the group's size."""
    return int(digest(seed, iteration, draw, prompt, index), 16) - 2**63


def need(record: Record, key: str, kind: type, where: str) -> Any:
    """The value of a key that must be there with the given type; raises InputError naming place, field and type."""
    if key not in record:
        present = ", ".join(list(record)[:8]) or "nothing"
        raise InputError(f'{where}: missing "{key}" (found {present})')
    value = record[key]
    fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not fits or (isinstance(value, bool) and kind in (int, float)):
        raise InputError(f'{where}: "{key}" must be {_TYPES[kind]}, found {json.dumps(value)[:40]}')
    return value


def may(record: Record, key: str, kind: type, where: str) -> Any:
    """The value of a key that may be missing or null; raises InputError when it has another type than the given one."""
    return None if record.get(key) is None else need(record, key, kind, where)


def completion_tokens(record: Record) -> int | None:
    """How many tokens the completion has, the end token included; None when the record does not tell."""
    ids = record.get("completion_ids")
    if isinstance(ids, list):
        return len(ids)
    usage = record.get("usage")  # what a server says that it sampled
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _is_message(message: Record) -> bool:
    return isinstance(message.get("role"), str) and isinstance(message.get("content"), str)


# What data sets call a prompt; r1 prompts knows what to do with them.
QUESTIONS = {"question", "problem", "instruction", "query", "input", "text"}


def need_prompt(record: Record, where: str) -> str:
    """The text of the prompt; raises InputError that leads to r1 prompts where the question has another name."""
    if "prompt" not in record and not QUESTIONS.isdisjoint(record):
        found = next(name for name in record if name in QUESTIONS)
        raise InputError(f'{where}: missing "prompt" (found {found}); r1 prompts FILE makes prompts of other fields')
    return need(record, "prompt", str, where)


def as_prompt(record: Record, where: str) -> Record:
    """A prompt record: checked, with its `id` (a digest of the prompt where none is given) and no rollout keys."""
    if record.get("messages") is not None:
        messages = need(record, "messages", list, where)
        if not messages or not all(isinstance(m, dict) and _is_message(m) for m in messages):
            raise InputError(f'{where}: "messages" must be a list of objects with "role" and "content", both strings')
    elif not need_prompt(record, where).strip():
        raise InputError(f'{where}: "prompt" is empty')
    prompt = {key: value for key, value in record.items() if key not in RESERVED}
    if "id" not in prompt:
        return {"id": digest(prompt.get("messages", prompt.get("prompt"))), **prompt}
    need(prompt, "id", str, where)
    return prompt


def check_rollout(record: Record, where: str) -> None:
    """Raises InputError unless the record is a rollout that a trainer can use: ids, log-probs, group, batch, policy."""
    ids = need(record, "completion_ids", list, where)
    prompt = need(record, "prompt_ids", list, where)
    logprobs = need(record, "logprobs", list, where)
    if not ids or not prompt:
        raise InputError(f'{where}: "prompt_ids" and "completion_ids" must not be empty')
    if not all(type(token) is int for token in ids) or not all(type(token) is int for token in prompt):
        raise InputError(f'{where}: "prompt_ids" and "completion_ids" must be lists of integers')
    if len(logprobs) != len(ids):
        raise InputError(f'{where}: "logprobs" has {len(logprobs)} numbers for {len(ids)} "completion_ids"')
    # type() and not isinstance: this runs over every token of the batch, and bool is an int.
    if not all(type(value) is float or type(value) is int for value in logprobs):
        raise InputError(f'{where}: "logprobs" must be numbers, one per token of "completion_ids"')
    group = need(record, "group", dict, where)
    need(group, "id", str, f"{where}: group")
    size = need(group, "size", int, f"{where}: group")
    index = need(group, "index", int, f"{where}: group")
    if not 0 <= index < size:
        raise InputError(f"{where}: group.index {index} is outside group.size {size}")
    batch = need(record, "batch", dict, where)
    need(batch, "id", str, f"{where}: batch")
    need(batch, "questions", int, f"{where}: batch")
    policy = need(record, "policy", dict, where)
    if policy.get("run") is None:
        raise InputError(
            f"{where}: sampled from a plain model folder, which is never written to; make a run with r1 init"
        )
    for key, kind in (("run", str), ("path", str), ("step", int), ("iteration", int), ("version", str)):
        need(policy, key, kind, f"{where}: policy")
    may(batch, "cursor", int, f"{where}: batch")
    sampling = need(record, "sampling", dict, where)
    need(sampling, "temperature", float, f"{where}: sampling")
    may(sampling, "top_p", float, f"{where}: sampling")
    may(sampling, "max_tokens", int, f"{where}: sampling")
    if need(record, "finish", str, where) not in ("stop", "length"):
        raise InputError(f'{where}: "finish" must be stop or length, found {record["finish"]!r}')


def check_reward(record: Record, where: str) -> None:
    """Raises InputError unless the record carries a finite `reward`, or null for one that failed."""
    if "reward" not in record:
        raise InputError(f'{where}: missing "reward"; put r1 reward before r1 grpo-step')
    rewards = may(record, "rewards", dict, where) or {}
    for name, value in {"reward": record["reward"], **{f"rewards.{name}": rewards[name] for name in rewards}}.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not number:
            raise InputError(f'{where}: "{name}" must be a finite number or null, found {json.dumps(value)[:40]}')


class Batches:
    """Collects rollouts and tells which are missing; duplicates and mixed policies are refused as they come."""

    def __init__(self) -> None:
        self.policy: Record | None = None
        self.questions: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.groups: dict[str, dict[str, int]] = {}
        self.seen: dict[tuple[str, int], str] = {}
        self.rollouts: list[Record] = []

    def add(self, record: Record, where: str) -> None:
        """Takes one checked rollout; raises InputError for a duplicate or for one of another policy."""
        group, batch, policy = record["group"], record["batch"], record["policy"]
        key = (group["id"], group["index"])
        if key in self.seen:
            raise InputError(f"{where}: duplicate sample {key[1]} of group {key[0]}, first seen at {self.seen[key]}")
        if self.policy is not None and policy != self.policy:
            raise InputError(
                f"{where}: sampled from {_describe(policy)}, the lines before from {_describe(self.policy)}; "
                "train on one policy at a time"
            )
        self.policy = policy
        self.seen[key] = where
        for stated, name, owner in (self.questions, "batch.questions", batch), (self.sizes, "group.size", group):
            size = owner[name.partition(".")[2]]
            if stated.setdefault(owner["id"], size) != size:
                raise InputError(f"{where}: {name} is {size}, an earlier line says {stated[owner['id']]}")
        sizes = self.groups.setdefault(batch["id"], {})
        sizes[group["id"]] = sizes.get(group["id"], group["size"]) - 1
        self.rollouts.append(record)

    def fingerprint(self) -> str:
        """A digest of which samples are there, so that another part of a batch is not taken for a retry of it."""
        return digest(sorted(self.seen))

    def missing(self) -> str | None:
        """A sentence naming what is missing from the batches, or None when they are complete."""
        for batch, sizes in self.groups.items():
            questions = self.questions[batch]
            short = {group: left for group, left in sizes.items() if left}
            absent = questions - len(sizes)
            if absent < 0:
                return f"batch {batch} holds {len(sizes)} questions, batch.questions is {questions}"
            if not short and not absent:
                continue
            parts = []
            if absent:
                parts.append(f"{absent} of {questions} questions")
            if short:
                group, left = next(iter(short.items()))
                more = f" and of {len(short) - 1} more" if len(short) > 1 else ""
                parts.append(f"{left} rollouts of group {group}{more}")
            return f"batch {batch} is incomplete: missing {' and '.join(parts)}"
        return None


def collect(lines: Iterable[tuple[bytes, str]], parse: Callable[[bytes, str], Record]) -> Batches:
    """Reads rewarded rollout lines, given with their `file:line`, into batches; raises InputError for a bad one."""
    batches = Batches()
    for raw, where in lines:
        record = parse(raw, where)
        check_rollout(record, where)
        check_reward(record, where)
        batches.add(record, where)
    return batches


def _describe(policy: Record) -> str:
    return f"{policy.get('path')} at step {policy.get('step')}"


def thinking(completion: str) -> str | None:
    """The text between <think> and </think>, to the end when the tag stays open; None without a <think>."""
    start = completion.find("<think>")
    if start < 0:
        return None
    end = completion.find("</think>", start)
    return completion[start + 7 : end if end >= 0 else None]


def whole_answer(record: Record) -> str:
    """The completion, with the <think> that the template may have written before it."""
    sampling = record.get("sampling")
    prefill = sampling.get("prefill") if isinstance(sampling, dict) else None
    return f"{prefill if isinstance(prefill, str) else ''}{record.get('completion') or ''}"


def unique_ids(prompts: Iterable[Prompt]) -> None:
    """Raises InputError when two prompts of one batch share an id."""
    seen: dict[str, str] = {}
    for prompt, where, _ in prompts:
        first = seen.setdefault(prompt["id"], where)
        if first != where:
            raise InputError(f'{where}: duplicate id "{prompt["id"]}", first seen at {first}; ids must be unique')
