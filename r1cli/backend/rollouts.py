"""From a sample request to rollout lines: which questions, which ids and seeds, and the record around each sample.

The sampler only sees token ids; this file gives its samples the context that makes a line self-describing.
"""

import itertools
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy
import orjson

from r1cli.backend.base import Prompts
from r1cli.backend.sampling import Group, Sample, SamplingParams
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError, R1Error
from r1cli.prompts import sources, templates
from r1cli.records import Prompt, Record, digest, sample_key
from r1cli.runfile import SampleSettings
from r1cli.runs import Run, State

PAPER = asdict(SampleSettings())

_numbers = itertools.count()


@dataclass(slots=True)
class SampleJob:
    """One sample request on its way: its groups and the fixed parts of its lines."""

    number: int
    groups: list[Group]
    prefixes: list[bytes]
    group_ids: list[str]
    suffixes: list[bytes]
    end_tokens: frozenset[int]
    tokenizer: Tokenizer
    size: int
    pending: int = field(default=0)

    def lines(self, group: Group, samples: list[Sample]) -> list[bytes]:
        """The rollout lines of a finished group, in the order of their index."""
        question = group.key[1]
        ids = orjson.dumps(group.prompt_ids)
        out = []
        for index, sample in enumerate(samples):
            if not numpy.isfinite(sample.logprobs).all():
                raise R1Error("the sampler gave a log-probability that is not finite; the model's weights are damaged")
            text = sample.ids[:-1] if sample.finish == "stop" and sample.ids[-1] in self.end_tokens else sample.ids
            member = {"id": self.group_ids[question], "index": index, "size": self.size}
            out.append(
                b"".join(
                    (
                        self.prefixes[question],
                        b',"completion":', orjson.dumps(self.tokenizer.decode(text)),
                        b',"prompt_ids":', ids,
                        b',"completion_ids":', orjson.dumps(sample.ids),
                        b',"logprobs":', orjson.dumps(sample.logprobs, option=orjson.OPT_SERIALIZE_NUMPY),
                        b',"finish":"', sample.finish.encode(),
                        b'","group":', orjson.dumps(member),
                        self.suffixes[question],
                    )
                )
            )  # fmt: skip
        self.pending -= 1
        return out


def settings(request: dict[str, Any], run: Run | None) -> dict[str, Any]:
    """The request's sampling settings: what was asked, else what run.json says, else the paper's."""
    known = run.defaults("sample") if run else {}
    asked = {key: value for key, value in request.items() if key in PAPER and value is not None}
    template = {"template": run.config["template"]} if run and run.config.get("template") else {}
    return {**PAPER, **template, **known, **asked}


def plan(
    request: dict[str, Any],
    prompts: Prompts,
    *,
    run: Run | None,
    state: State,
    tokenizer: Tokenizer,
    context: int,
    path: str,
    engine: str = "torch",
) -> SampleJob:
    """Turns a request into groups for the sampler; raises InputError for prompts that cannot be sampled.

    `prompts` are the user's own records with their places; None draws the next questions of the run's task.
    """
    chosen = settings(request, run)
    seed = request.get("seed")
    seed = run.config.get("seed", 0) if seed is None and run else seed or 0
    start = None
    if prompts is None:
        prompts, start = _own_questions(chosen, run, state, seed)
    if not prompts:
        raise InputError("no prompts: the input is empty")
    if chosen["group"] < 1 or chosen["max_tokens"] < 1:
        raise InputError("--group and --max-tokens must be at least 1")
    shots = request.get("few_shot") or ()
    records, params, encoded, prefills = [prompt.record for prompt in prompts], [], [], []
    for record, where, _ in prompts:
        shown = templates.render(
            chosen["template"], record, tokenizer, where, shots=shots, prefill=request.get("prefill")
        )
        ids = tokenizer.encode(shown.text, shown.special)
        if len(ids) >= context:
            raise InputError(f"{where}: the prompt has {len(ids)} tokens, the model's context is {context}; shorten it")
        encoded.append(ids)
        prefills.append(shown.prefill)
        params.append(
            SamplingParams(
                temperature=chosen["temperature"],
                top_p=chosen["top_p"],
                max_tokens=min(chosen["max_tokens"], context - len(ids)),
                stop=tuple(chosen["stop"]),
            )
        )
    sampling = {
        "temperature": chosen["temperature"], "top_p": chosen["top_p"], "max_tokens": chosen["max_tokens"],
        "seed": seed, "template": chosen["template"], "engine": engine,
    }  # fmt: skip
    if engine == "vllm" and 0 < chosen["top_p"] < 1 and chosen["temperature"] > 0:
        sampling["logprobs"] = "truncated"  # within the nucleus, which is all that it can say
    if chosen["stop"]:
        sampling["stop"] = list(chosen["stop"])
    if shots:
        sampling["few_shot"] = {"examples": len(shots), "digest": digest(list(shots), size=6)}
    names = _unique_names(records)
    identity = [run.id if run else path, state.version, chosen["draw"], chosen["group"], sampling]
    batch: dict[str, Any] = {"id": digest(identity, names, encoded), "questions": len(records)}
    if start is not None:
        batch["cursor"] = start + len(records)
    policy = {
        "run": run.id if run else None, "path": path, "step": state.step, "iteration": state.iteration,
        "version": state.version,
    }  # fmt: skip
    job = next(_numbers)  # two clients may ask for the same batch at once
    groups = [
        Group(
            key=(job, number),
            prompt_ids=encoded[number],
            seeds=[
                sample_key(seed, state.iteration, chosen["draw"], names[number], index)
                for index in range(chosen["group"])
            ],
            params=params[number],
        )
        for number in range(len(records))
    ]
    suffixes = []
    for prefill in prefills:
        # What was written of the answer beforehand, a thought that was opened: graders read the completion after it.
        own = {**sampling, "prefill": prefill} if prefill else sampling
        suffixes.append(b"," + orjson.dumps({"batch": batch, "policy": policy, "sampling": own})[1:] + b"\n")
    return SampleJob(
        number=job,
        groups=groups,
        prefixes=[prompt.line[:-1] for prompt in prompts],
        group_ids=[digest(batch["id"], name, size=6) for name in names],
        suffixes=suffixes,
        end_tokens=frozenset(tokenizer.end_tokens),
        tokenizer=tokenizer,
        size=chosen["group"],
        pending=len(groups),
    )


def _own_questions(chosen: dict[str, Any], run: Run | None, state: State, seed: int) -> tuple[list[Prompt], int | None]:
    source = run.config.get("source") if run else None
    if source is None:
        raise InputError(
            "no prompts: name a JSONL file (or - for standard input); only a run made with r1 init --task draws its own"
        )
    count, split = chosen["questions"], chosen["split"]
    # A held-out set is the same at every step; training questions follow the committed cursor.
    start = state.cursor + chosen["draw"] * count if split == "train" else 0
    # The questions belong to the run: another sampling seed gives other samples of the same questions.
    drawn = sources.draw(source, run.config.get("seed", 0), start, count, split)
    return drawn, start if split == "train" else None


def _unique_names(records: list[Record]) -> list[str]:
    # A batch that straddles two epochs may hold a question twice: its samples must still differ.
    names: dict[str, None] = {}
    for record in records:
        name, times = record["id"], 1
        while name in names:
            times += 1
            name = f"{record['id']}#{times}"
        names[name] = None
    return list(names)
