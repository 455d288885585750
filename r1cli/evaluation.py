"""Estimates over judged samples: pass@1, pass@k, cons@k, their standard errors, and the shares that explain them.

It reads verdicts and counts; it grades nothing. All subsampling is seeded, so the same records give the same numbers.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from r1cli.errors import InputError
from r1cli.rewards.extract import answer_key, completion_of, find_answer, split_thinking, was_prefilled
from r1cli.rewards.format import find_problem

SUBSAMPLES = 200
CORRECTNESS = ("accuracy", "choice", "code")
_RIGHT = ("right",)


@dataclass(slots=True, frozen=True)
class Sample:
    """What the estimates need of one judged rollout.

    value: the verdict in [0, 1], None when the judge failed. answer: equal for equal answers, None for no answer.
    tokens, thinking_tokens: lengths in tokens, None where the record doesn't tell. thinking_characters: 0 without one.
    """

    value: float | None
    answer: Hashable | None
    truncated: bool
    formatted: bool
    tokens: int | None = None
    thinking_tokens: int | None = None
    thinking_characters: int = 0


def read_sample(
    record: dict, *, lenient: bool = False, format_shape: str = "zero", think_end: int | None = None
) -> Sample:
    """A Sample from a judged rollout; `think_end` is the token id of `</think>`, if it is one token.

    Raises InputError when the record was not judged.
    """
    completion = completion_of(record)
    rewards = record.get("rewards")
    name = next((name for name in CORRECTNESS if isinstance(rewards, dict) and name in rewards), None)
    if name is None:
        raise InputError('"rewards" has no accuracy: judge the rollouts first, with `r1 reward --accuracy`')
    value = rewards[name]
    prefilled = was_prefilled(record)
    truncated = record.get("finish") == "length"
    found = find_answer(completion, prefilled=prefilled, lenient=lenient).answer
    ids = record.get("completion_ids")
    ids = ids if isinstance(ids, list) else None
    thinking_tokens = None
    if ids is not None and think_end is not None:
        thinking_tokens = ids.index(think_end) if think_end in ids else (len(ids) if truncated else 0)
    shaped = ("<think>" + completion) if prefilled else completion
    return Sample(
        value=value,
        # An answer that was cut off is not one: it gets no vote.
        answer=answer_key(found) if found is not None and not truncated else None,
        truncated=truncated,
        formatted=not truncated and not find_problem(shaped, format_shape),
        tokens=len(ids) if ids is not None else None,
        thinking_tokens=thinking_tokens,
        thinking_characters=len(split_thinking(completion, prefilled).thinking or ""),
    )


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased chance that one of k samples is right, from n samples with c right: 1 - C(n-c, k) / C(n, k).

    As the product of (1 - k/i) for i = n-c+1 .. n, which never overflows (Chen et al. 2021, section 2.1).
    Raises InputError when there are fewer samples than k.
    """
    if not 1 <= k <= n:
        raise InputError(
            f"pass@{k} needs at least {max(k, 1)} samples of each question, one has {n}: sample more with -k"
        )
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def consensus(votes: Sequence[tuple[Hashable | None, bool]]) -> float:
    """The expected score of the majority answer, ties broken at random: the share of top clusters that are right.

    votes: (answer, right) pairs; no answer has no vote, and all right answers are one cluster, since each equals the
    reference. With no vote at all the score is 0.
    """
    clusters = Counter(_RIGHT if right else (answer,) for answer, right in votes if right or answer is not None)
    if not clusters:
        return 0.0
    top = max(clusters.values())
    return (clusters[_RIGHT] == top) / sum(count == top for count in clusters.values())


def cons_at_k(votes: Sequence[tuple[Hashable | None, bool]], k: int, *, seed: Hashable = 0) -> float:
    """`consensus` averaged over the subsets of k votes: over all when they are few, else over 200 seeded draws.

    Raises InputError when there are fewer votes than k.
    """
    n = len(votes)
    if not 1 <= k <= n:
        raise InputError(
            f"cons@{k} needs at least {max(k, 1)} samples of each question, one has {n}: sample more with -k"
        )
    if k == n:
        return consensus(votes)
    if math.comb(n, k) <= SUBSAMPLES:
        return math.fsum(map(consensus, itertools.combinations(votes, k))) / math.comb(n, k)
    draw = random.Random(f"cons@{k}:{seed}")
    return math.fsum(consensus(draw.sample(votes, k)) for _ in range(SUBSAMPLES)) / SUBSAMPLES


def clustered_error(means: Sequence[float]) -> float | None:
    """Standard error of the mean over items: sd(item means) / sqrt(items); None with fewer than two items.

    Samples of one item are not independent, so they must not be counted as if they were.
    """
    if len(means) < 2:
        return None
    mean = math.fsum(means) / len(means)
    return math.sqrt(math.fsum((m - mean) ** 2 for m in means) / (len(means) - 1) / len(means))


def sampling_error(items: Sequence[Sequence[float]]) -> float | None:
    """Standard error of the mean of item means for these items, when only the samples vary; None if one has < 2."""
    if not items or any(len(values) < 2 for values in items):
        return None
    variances = []
    for values in items:
        mean = math.fsum(values) / len(values)
        variances.append(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
    # fsum: the order in which questions came must not show in the last digit.
    return math.sqrt(math.fsum(variances)) / len(items)


def summarize(
    items: dict[Hashable, list[Sample]], *, ks: Iterable[int] = (), cons: Iterable[int] = (), seed: int = 0
) -> dict:
    """The summary of one task: items, samples, pass@1, its errors, pass@k, cons@k, shares and mean lengths.

    items: the samples of each question. `stderr` is over questions, `stderr_samples` given these questions. Samples
    whose judge failed are left out and counted in `failed`; a question without a verdict is left out altogether.
    Raises InputError without any verdict, and when a question has fewer samples than a k.
    """
    everything = [sample for samples in items.values() for sample in samples]
    judged = {key: [s for s in samples if s.value is not None] for key, samples in items.items()}
    judged = {key: samples for key, samples in judged.items() if samples}
    if not judged:
        raise InputError("no sample has a verdict: there is nothing to summarize")
    values = [[float(s.value) for s in samples] for samples in judged.values()]
    means = [math.fsum(v) / len(v) for v in values]
    summary: dict = {
        "items": len(judged),
        "samples": len(everything),
        "pass@1": math.fsum(means) / len(means),
        "stderr": clustered_error(means),
        "stderr_samples": sampling_error(values),
    }
    votes = {key: [(s.answer, _is_right(s)) for s in samples] for key, samples in judged.items()}
    for k in sorted(set(ks) - {1}):
        estimates = [pass_at_k(len(v), sum(right for _, right in v), k) for v in votes.values()]
        summary[f"pass@{k}"] = math.fsum(estimates) / len(estimates)
    for k in sorted(set(cons)):
        estimates = [cons_at_k(v, k, seed=f"{seed}:{key}") for key, v in votes.items()]
        summary[f"cons@{k}"] = math.fsum(estimates) / len(estimates)
    return summary | _describe(everything)


def _is_right(sample: Sample) -> bool:
    return sample.value is not None and sample.value >= 1.0


def _describe(samples: list[Sample]) -> dict:
    count = len(samples)
    described = {
        "no_answer": sum(s.answer is None and not s.truncated for s in samples) / count,
        "truncated": sum(s.truncated for s in samples) / count,
        "format": sum(s.formatted for s in samples) / count,
        "failed": sum(s.value is None for s in samples) / count,
        "thinking_characters": sum(s.thinking_characters for s in samples) / count,
    }
    for name in ("tokens", "thinking_tokens"):
        lengths = [getattr(s, name) for s in samples]
        if all(length is not None for length in lengths):
            described[name] = sum(lengths) / count
    return described


def item_of(record: dict) -> str:
    """Which question a rollout answers: its `id`, or else its group's; raises InputError when it has neither."""
    group = record.get("group")
    name = record.get("id") or (group.get("id") if isinstance(group, dict) else None)
    if not isinstance(name, str | int):
        raise InputError('"id" is missing: samples of one question are recognised by it')
    return str(name)
