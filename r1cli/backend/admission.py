"""Whether a batch of rollouts may update a run, and the batch in the trainer's form.

Everything that could go wrong with what a client sent is found here, before the first weight moves.
"""

import math
from collections.abc import Callable

from r1cli.backend.batches import Rollout
from r1cli.backend.model import ModelConfig
from r1cli.errors import InputError
from r1cli.records import Batches, Record
from r1cli.runs import Run, State


def check_origin(batch: Batches, run: Run) -> None:
    """Raises InputError for an empty batch and for rollouts of another run."""
    if batch.policy is None:
        raise InputError("no rollouts: the input is empty")
    if batch.policy["run"] != run.id:
        raise InputError(
            f"the rollouts come from run {batch.policy['run']} ({batch.policy['path']}), not from {run.path}"
        )


def check_complete(batch: Batches) -> None:
    """Raises InputError, naming what is missing, for a batch that was cut."""
    if missing := batch.missing():
        raise InputError(f"{missing}; no update (--allow-partial trains on what is there)")


def check_age(batch: Batches, state: State, limit: int) -> bool:
    """Whether an older policy sampled the rollouts; InputError beyond `limit` iterations or for another history."""
    policy = batch.policy
    age = state.iteration - policy["iteration"]
    versions = {entry["iteration"]: entry["version"] for entry in state.history} | {state.iteration: state.version}
    if age < 0 or versions.get(policy["iteration"], policy["version"]) != policy["version"]:
        raise InputError(
            f"the rollouts come from iteration {policy['iteration']} of a history that this run has left "
            f"(it stands at iteration {state.iteration}, step {state.step}); sample again"
        )
    if age > limit:
        raise InputError(
            f"stale rollouts: sampled at step {policy['step']} (iteration {policy['iteration']}), the run is at step "
            f"{state.step} (iteration {state.iteration}); sample again, or allow it with --max-staleness {age}"
        )
    return age > 0


def check_content(batch: Batches, config: ModelConfig, note: Callable[[str], None]) -> None:
    """Raises InputError for tokens that the model does not have, sampling it can't be trained on, or odd values."""
    prompts: dict[str, list[int]] = {}
    truncating = False
    for record in batch.rollouts:
        where = f"group {record['group']['id']}, sample {record['group']['index']}"
        ids, completion, sampling = record["prompt_ids"], record["completion_ids"], record["sampling"]
        if prompts.setdefault(record["group"]["id"], ids) != ids:
            raise InputError(f"{where}: its prompt_ids differ from those of its group")
        highest, lowest = max(max(ids), max(completion)), min(min(ids), min(completion))
        if highest >= config.vocab_size or lowest < 0:
            odd = lowest if lowest < 0 else highest
            raise InputError(f"{where}: token {odd} is outside the vocabulary of {config.vocab_size}; wrong model?")
        if len(ids) + len(completion) > config.context:
            raise InputError(f"{where}: {len(ids) + len(completion)} tokens, the model's context is {config.context}")
        if sampling["temperature"] <= 0:
            raise InputError(f"{where}: sampled greedily (temperature 0), which gives no policy gradient")
        if not _is_count(sampling.get("max_tokens", 1)):
            raise InputError(f"{where}: sampling.max_tokens must be a whole number above 0")
        if not _is_count(record["batch"].get("cursor", 1)):
            raise InputError(f"{where}: batch.cursor must be a whole number above 0")
        terms = record.get("rewards") or {}
        if not isinstance(terms, dict) or not all(_is_term(value) for value in terms.values()):
            raise InputError(f'{where}: "rewards" must be an object of numbers and nulls')
        truncating = truncating or sampling.get("top_p", 1.0) < 1
    if truncating:
        note("warning: sampled with top-p < 1: the importance ratios are biased; train with --top-p 1")


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _is_term(value: object) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(value))


def question_cursor(batch: Batches, state: State) -> int:
    """Where the next questions are drawn once this batch has been used."""
    return max(state.cursor, *(record["batch"].get("cursor", 0) for record in batch.rollouts))


def trainer_rollouts(batch: Batches, context: int) -> list[Rollout]:
    """The rollouts as the trainer takes them, in an order of their own; none can be longer than the model's context.

    Groups are numbered by their question, so that neither the order of the lines nor the run's uuid, which is in the
    group's id, can change the update.
    """
    groups = {r["group"]["id"]: (str(r.get("id")), r["prompt_ids"], r["group"]["id"]) for r in batch.rollouts}
    names = {name: number for number, name in enumerate(sorted(groups, key=groups.__getitem__))}
    ordered = sorted(batch.rollouts, key=lambda r: (names[r["group"]["id"]], r["group"]["index"]))
    return [_rollout(record, names[record["group"]["id"]], context) for record in ordered]


def _rollout(record: Record, group: int, context: int) -> Rollout:
    room = context - len(record["prompt_ids"])
    return Rollout(
        prompt_ids=record["prompt_ids"],
        completion_ids=record["completion_ids"],
        # Those of a nucleus are of another distribution than the policy's: the trainer goes by its own.
        logprobs=[] if record["sampling"].get("logprobs") == "truncated" else record["logprobs"],
        reward=record["reward"],
        rewards=record.get("rewards") or {},
        group=group,
        finish=record["finish"],
        temperature=float(record["sampling"]["temperature"]),
        max_tokens=min(record["sampling"].get("max_tokens", room), room),
        dropped=bool(record.get("dropped")),
    )
