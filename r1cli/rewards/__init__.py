"""Rewards: each reads one rollout and answers with a Verdict; `judge` adds them up.

A reward that does not apply leaves its term out of the sum. A reward that failed makes the whole `reward` null, and so
does a record to which no reward applied: a number is never made up. Nothing here prints; no model text is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from r1cli.errors import InputError
from r1cli.rewards import accuracy, format, language
from r1cli.rewards.verdict import Options, Verdict

__all__ = ["REWARDS", "Options", "Verdict", "check_weights", "judge"]

REWARDS: dict[str, Callable[[dict, Options], Verdict]] = {
    "format": format.score,
    "accuracy": accuracy.score,
    "language": language.score,
}


def check_weights(weights: dict[str, float]) -> None:
    """Raise InputError for an unknown reward, a weight that is no finite number, or no reward at all."""
    if not weights:
        raise InputError(f"no reward chosen: use one of {', '.join('--' + name for name in REWARDS)}")
    for name, weight in weights.items():
        if name not in REWARDS:
            raise InputError(f"unknown reward {name!r}: known are {', '.join(REWARDS)}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise InputError(f"the weight of {name} must be a finite number, not {weight!r}")


def judge(record: dict, weights: dict[str, float], options: Options) -> dict:
    """`rewards`, `reward` and `reward_info` of one rollout, for rewards and weights that passed check_weights.

    `rewards` maps names to numbers or null, `reward` is their weighted sum over the terms that apply (DeepSeek-R1,
    section 2.2, with equal weights by default), null when a term failed or none applied. `reward_info` gives each
    term's reason, weight and, where its value is null, its state. Terms that an earlier `r1 reward` left in the record
    stay in the sum unless they are judged anew. Raises InputError when the record lacks what a reward needs.
    """
    values, infos = _earlier(record, weights)
    for name, weight in weights.items():
        verdict = REWARDS[name](record, options)
        value, reason, state = verdict.value, verdict.reason, verdict.state
        if value is not None and not math.isfinite(value):
            value, reason, state = None, "not_a_number", "failed"
        info = {"reason": reason, "weight": weight}
        if state != "ok":
            info["state"] = state
        if verdict.extra:
            info |= verdict.extra
        values[name] = value
        infos[name] = info
    return {"rewards": values, "reward": _add_up(values, infos), "reward_info": infos}


def _earlier(record: dict, weights: dict[str, float]) -> tuple[dict, dict]:
    """The terms and reasons already in the record that are not judged anew."""
    rewards, infos = record.get("rewards"), record.get("reward_info")
    rewards = rewards if isinstance(rewards, dict) else {}
    values = {name: value for name, value in rewards.items() if name not in weights}
    known = infos if isinstance(infos, dict) else {}
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not number:
            raise InputError(f'"rewards" has {name} = {value!r}: expected a finite number or null')
    return values, {name: info for name, info in known.items() if name not in weights}


def _add_up(values: dict, infos: dict) -> float | None:
    total = 0.0
    applied = False
    for name, value in values.items():
        info = infos.get(name)
        info = info if isinstance(info, dict) else {}
        if value is None:
            # A null that does not say why may be a judge that failed.
            if info.get("state") != "not-applicable":
                return None
            continue
        weight = info.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise InputError(f'"reward_info" has a weight of {name} that is no number: {weight!r}')
        total += weight * value
        applied = True
    return total if applied and math.isfinite(total) else None
