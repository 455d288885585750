"""Metrics records around what a trainer measured: how they are kept and written, and how long the thinking was."""

from typing import Any

import orjson

from r1cli.records import Record, thinking, whole_answer


def stamped(metrics: list[Record], iteration: int, saved: bool) -> list[Record]:
    """The metrics of an iteration as they are kept; one of several updates leaves one folder."""
    metrics = [{**_rounded(record), "iteration": iteration, "saved": False} for record in metrics]
    metrics[-1]["saved"] = saved
    return metrics


def _rounded(value: Any) -> Any:
    """Floats with the seven digits that fp32 holds; more would be noise on the screen."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return float(f"{value:.7g}") if isinstance(value, float) else value


def metrics_lines(metrics: list[Record]) -> list[bytes]:
    """Metrics records as lines."""
    return [orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n" for record in metrics]


def thinking_mean(rollouts: list[Record], tags: tuple[int | None, int | None]) -> float:
    """Mean length of the thinking in tokens; by its share of the text where the tags are no tokens of their own.

    `tags` are the ids of <think> and </think>.
    """
    total = 0.0
    for record in rollouts:
        ids, text = record["completion_ids"], whole_answer(record)
        thought = thinking(text)
        if not thought:
            continue
        begin, end = (ids.index(tag) if tag in ids else None for tag in tags)
        if None not in tags:
            total += (len(ids) if end is None else end) - (-1 if begin is None else begin) - 1
        else:
            total += len(ids) * len(thought) / len(text)
    return total / len(rollouts)
