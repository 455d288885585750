"""Rewards: each reads one rollout and answers with a Verdict; a Grader adds them up.

A reward that does not apply leaves its term out of the sum. A reward that failed makes the whole `reward` null, and so
does a record to which no reward applied: a number is never made up. Nothing here prints; no model text is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec

from r1cli.errors import InputError
from r1cli.rewards.grading import Grader, reward_of
from r1cli.rewards.judges import FunctionJudge, Judge
from r1cli.rewards.verdict import Options, Verdict
from r1cli.rewards.verified import AccuracyJudge

__all__ = ["Grader", "Options", "Verdict", "check_weights", "function_of", "judge", "open_grader", "reward_of"]


def function_of(name: str) -> Callable[[dict, Options], Verdict]:
    """The `score` of the file that has the reward's name: a function of one record and the options.

    Raises InputError when there is no such file, or it has no `score`.
    """
    spec = find_spec(f"r1cli.rewards.{name}") if name.isidentifier() else None
    score = getattr(import_module(spec.name), "score", None) if spec else None
    if score is None:
        raise InputError(f"unknown reward {name!r}")
    return score


def _code(options: Options) -> Judge:
    from r1cli.rewards.code import CodeJudge, CodeOptions

    return CodeJudge(CodeOptions(jobs=options.jobs))


# Rewards that keep processes; all others are a function of one record, in a file of their name.
JUDGES: dict[str, Callable[[Options], Judge]] = {"accuracy": AccuracyJudge, "code": _code}


def check_weights(weights: dict[str, float]) -> None:
    """Raise InputError for a weight that is no finite number, or no reward at all."""
    if not weights:
        raise InputError("no reward chosen")
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise InputError(f"the weight of {name} must be a finite number, not {weight!r}")


def open_grader(weights: dict[str, float], options: Options, judges: Iterable[Judge] = ()) -> Grader:
    """A Grader for these rewards and weights, to be closed; `judges` are those that need settings of their own.

    Raises InputError for an unknown reward and for weights that are no numbers.
    """
    check_weights(weights)
    given = {judge.name: judge for judge in judges}
    chosen: list[Judge] = []
    for name in weights:
        if name in given:
            chosen.append(given[name])
        elif name in JUDGES:
            chosen.append(JUDGES[name](options))
        else:
            chosen.append(FunctionJudge(name, function_of(name), options))
    return Grader(chosen, weights)


def judge(record: dict, weights: dict[str, float], options: Options) -> dict:
    """`rewards`, `reward` and `reward_info` of one rollout.

    `rewards` maps names to numbers or null, `reward` is their weighted sum over the terms that apply (DeepSeek-R1,
    section 2.2, with equal weights by default), null when a term failed or none applied. `reward_info` gives each
    term's reason, weight and, where its value is null, its state. Terms that an earlier `r1 reward` left in the record
    stay in the sum unless they are judged anew. Raises InputError when the record lacks what a reward needs.
    """
    with open_grader(weights, options) as grader:
        return grader.judge(record)
