"""An OpenAI-compatible server as a sampler: prompts in, rollout lines out, text only.

A server tells neither token ids nor the log-probabilities that a trainer needs: its rollouts can be judged, filtered
and distilled from, not trained on by policy gradient. How requests reach it is api.py's business.
"""

import itertools
import queue
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import orjson

from r1cli import stream
from r1cli.backend.api import Server
from r1cli.backend.base import Lines, Prompts
from r1cli.backend.completions import LONGEST, Ask, Model, Text
from r1cli.errors import InputError
from r1cli.prompts import templates
from r1cli.records import Prompt, Record, digest, sample_key, unique_ids

# DeepSeek-R1, Methods: 16 outputs a question at temperature 1, at most 32,768 tokens.
PAPER = {"group": 16, "temperature": 1.0, "top_p": 1.0, "max_tokens": LONGEST}
# How long requests that are under way may take to come to their end after one has failed for good.
GRACE_SECONDS = 30.0


@dataclass(slots=True)
class _Group:
    """A question on its way: the fixed parts of its lines, and what has come of its samples."""

    prefix: bytes
    id: str
    size: int
    asks: list[Ask]
    prefill: str | None
    texts: dict[int, Text] = field(default_factory=dict)


class Remote:
    """A server behind the verbs of a backend; it can sample and nothing else."""

    def __init__(self, url: str, *, model: str | None = None, concurrency: int | None = None, **tuning: Any):
        self.server = Server(url, concurrency=concurrency or 32, **tuning)
        self.model = Model(self.server, model)

    def sample(self, request: dict[str, Any], prompts: Prompts) -> Iterator[bytes]:
        """Yields rollout lines, a group as soon as it is complete.

        Each sample is a request of its own, so that its seed depends neither on the group's size nor on the server's
        way of counting, and a failure costs one sample. When one fails for good, the groups that come to their end all
        the same are yielded before R1Error is raised.
        """
        if prompts is None:
            raise InputError("a server has no questions of its own; name a file of prompts, or - for standard input")
        if not prompts:
            raise InputError("no prompts: the input is empty")
        unique_ids(prompts)
        groups, batch, sampling = self._plan(request, prompts)
        policy = {"url": self.server.url, "model": self.model.name}
        for group in self._finished(groups):
            if not self.model.seeds:
                sampling["seed"] = None
            own = {**sampling, "prefill": group.prefill} if group.prefill else sampling
            shared = orjson.dumps({"batch": batch, "policy": policy, "sampling": own})[1:] + b"\n"
            for index in range(group.size):
                text = group.texts[index]
                member = {"id": group.id, "index": index, "size": group.size}
                record = {"completion": text.completion, "finish": text.finish, "group": member}
                if text.usage:
                    record["usage"] = text.usage
                yield b"".join((group.prefix, b",", orjson.dumps(record)[1:-1], b",", shared))

    def _plan(self, request: dict[str, Any], prompts: Prompts) -> tuple[list[_Group], Record, Record]:
        asked = {key: request[key] for key in PAPER if request.get(key) is not None}
        template = request.get("template") or "chat"
        chosen = {**PAPER, **asked}
        if template == "chat" and "max_tokens" not in asked:
            chosen["max_tokens"] = None  # what is left of the context: the server knows it
        seed, draw, stop = request.get("seed") or 0, request.get("draw") or 0, tuple(request.get("stop") or ())
        if chosen["group"] < 1 or chosen["temperature"] < 0 or not 0 < chosen["top_p"] <= 1 or "" in stop:
            raise InputError("--group must be at least 1, --temperature 0 or more, --top-p in (0, 1], --stop not empty")
        sampling = {
            "temperature": chosen["temperature"], "top_p": chosen["top_p"], "max_tokens": chosen["max_tokens"],
            "seed": seed, "template": template, "engine": "openai",
        }  # fmt: skip
        if stop:
            sampling["stop"] = list(stop)
        shots, prefill = request.get("few_shot") or (), request.get("prefill")
        if shots:
            sampling["few_shot"] = {"examples": len(shots), "digest": digest(list(shots), size=6)}
        if prefill and template == "chat":
            raise InputError("--prefill needs a --template for a URL: a server's chat template can't be continued")
        shown = [_shown(template, prompt.record, prompt.where, shots, prefill) for prompt in prompts]
        names = [prompt.record["id"] for prompt in prompts]
        identity = [self.server.url, self.model.name, draw, chosen["group"], sampling]
        batch = {"id": digest(identity, names, [one[:2] for one in shown]), "questions": len(prompts)}
        groups = []
        for prompt, name, (messages, text, begun) in zip(prompts, names, shown, strict=True):
            limit = chosen["max_tokens"]
            if text is not None and "max_tokens" not in asked:
                limit = self.model.room(text)
            asks = [
                Ask(messages, text, chosen["temperature"], chosen["top_p"], limit, stop, one)
                for one in seeds(seed, draw, name, chosen["group"])
            ]
            # A key of ours from an earlier sampling, which is the user's own only where we write none.
            line = stream.without(prompt.line, ("usage",)) if "usage" in prompt.record else prompt.line
            groups.append(_Group(line[:-1], digest(batch["id"], name, size=6), chosen["group"], asks, begun))
        return groups, batch, sampling

    def _finished(self, groups: list[_Group]) -> Iterator[_Group]:
        tasks = ((group, index) for group in groups for index in range(group.size))
        done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        under_way: dict[Future, tuple[_Group, int]] = {}
        failure: BaseException | None = None
        deadline = None
        while True:
            if failure is None:
                # Twice as many as are sent at a time: no worker waits for a slow reader's next look.
                for group, index in itertools.islice(tasks, 2 * self.server.concurrency - len(under_way)):
                    future = self.model.submit(group.asks[index])
                    under_way[future] = group, index
                    future.add_done_callback(done.put)
            if not under_way:
                break
            try:
                future = done.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            group, index = under_way.pop(future)
            error = future.exception()
            if error is None:
                group.texts[index] = future.result()
                if len(group.texts) == group.size:
                    yield group
                    group.texts.clear()
            elif failure is None:
                failure, deadline = error, time.monotonic() + GRACE_SECONDS
                self.server.stop()
        if failure is not None:
            raise failure

    def grpo_step(self, request: dict[str, Any], lines: Lines) -> Iterator[bytes]:
        """Refuses: the model of a server can't be updated from here."""
        raise InputError(f"{self.server.url} is a server: its model can be sampled, not trained; name a run")

    def sft(self, request: dict[str, Any], lines: Lines, validation: Lines | None) -> Iterator[bytes]:
        """Refuses, as grpo_step does."""
        raise InputError(f"{self.server.url} is a server: its model can be sampled, not trained; name a run")

    def distill(self, request: dict[str, Any], prompts: list[Prompt]) -> Iterator[bytes]:
        """Refuses, as grpo_step does."""
        raise InputError(f"{self.server.url} is a server: its model can be sampled, not trained; name a run")

    def close(self) -> None:
        """Cuts the connections, which ends requests that are still under way."""
        self.server.close()


def seeds(seed: int, draw: int, name: str, count: int) -> list[int]:
    """A prompt's seeds, all different, by the keyed hash of the stream; in 31 bits, which every server takes."""
    found: dict[int, None] = {}
    for index in range(count):
        one = sample_key(seed, 0, draw, name, index) & 0x7FFFFFFF
        while one in found:
            one = (one + 1) & 0x7FFFFFFF
        found[one] = None
    return list(found)


def _shown(
    template: str, prompt: Record, where: str, shots: Sequence[Record], prefill: str | None
) -> tuple[list[Record] | None, str | None, str | None]:
    """What the server is given of a prompt: messages for its own chat template, or text in one of ours, with the end
    that belongs to the answer.
    """
    if template == "chat":
        return templates.conversation(prompt, shots), None, None
    text, _, begun = templates.render(template, prompt, None, where, shots=shots, prefill=prefill)
    return None, text, begun
