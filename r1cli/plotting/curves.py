"""From records to curves: which numbers are drawn, over which axis, and how they are smoothed.

Nothing here knows how a curve looks; terminal.py and picture.py draw panels.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from r1cli.errors import InputError, nearest
from r1cli.plotting.sources import Record, Source

# What is drawn unless asked otherwise, as far as a run has it; `rewards.*` is every reward by its name.
DEFAULT = (
    "reward", "pass@1", "rewards.*", "length_mean", "thinking_mean", "kl", "entropy", "clip_fraction",
    "logprob_gap_mean",
)  # fmt: skip
LOSSES = ("loss", "validation_loss")
SUPERVISED = (*LOSSES, "pass@1", "entropy", "grad_norm")  # where no update has a reward
TITLES = {
    "rewards.accuracy": "accuracy", "rewards.format": "format", "length_mean": "length (tokens)",
    "thinking_mean": "thinking (tokens)", "kl": "KL to the reference", "entropy": "entropy (nats)",
    "clip_fraction": "clip share", "logprob_gap_mean": "log-prob gap", "grad_norm": "gradient norm",
    "validation_loss": "validation loss", "truncated": "truncated share", "zero_variance": "zero-variance share",
    "lr": "learning rate",
}  # fmt: skip
AXES = {
    "step": "step", "tokens": "tokens trained on", "seconds": "seconds of updates", "k": "k (samples a question)",
}  # fmt: skip


class Point(NamedTuple):
    """A value at a place on the axis, with its 95% interval where it is an estimate."""

    x: float
    y: float
    interval: tuple[float, float] | None = None


class Curve(NamedTuple):
    """The points of one source under one label; `sparse` ones are few measurements, each worth a mark."""

    label: str
    points: list[Point]
    sparse: bool = False
    source: int = 0


class Panel(NamedTuple):
    """Curves of one number over a common axis."""

    title: str
    axis: str
    curves: list[Curve]

    def constant(self) -> bool:
        """Whether nothing in it changes, of more than one step."""
        points = [point for curve in self.curves for point in curve.points]
        return len({y for _, y, _ in points}) == 1 and len({x for x, _, _ in points}) > 1


def panels(sources: Sequence[Source], labels: Sequence[str], names: Sequence[str] | None, axis: str) -> list[Panel]:
    """A panel for each name that any source has; raises InputError when there is nothing to draw."""
    if axis == "k":
        if names:
            raise InputError("the curves over k are pass@k; leave out --metric")
        curves = list(_over_k(sources, labels))
        if not curves:
            raise InputError("pass@k needs results of r1 eval (--pass-at 1,2,4,8) or judged samples")
        return [Panel("pass@k", axis, curves)]
    drawn = []
    for name in names or _defaults(sources):
        curves = [
            curve._replace(source=number)
            for number, (source, label) in enumerate(zip(sources, labels, strict=True))
            # The loss of a policy gradient says nothing, least of all beside one of supervised training.
            if names or name not in LOSSES or not _rewarded(source)
            for curve in _of(source, label, name, axis)
        ]
        if curves:
            drawn.append(Panel(TITLES.get(_full_name(sources, name), name), axis, curves))
        elif names:
            short, full = _known(sources)
            near = nearest(name, [*short, *full])
            raise InputError(f"no update has a number named {name}{near or ';'} there are {', '.join(short) or 'none'}")
    if not drawn:
        raise InputError(f"{', '.join(source.name for source in sources)}: no update has a number to draw")
    return drawn


def left_out(panels: Sequence[Panel], sources: Sequence[Source]) -> list[int]:
    """The numbers of the sources of which no panel shows anything."""
    shown = {curve.source for panel in panels for curve in panel.curves}
    return [number for number in range(len(sources)) if number not in shown]


def labels_of(panels: Sequence[Panel]) -> list[str]:
    """The labels of all curves, in the order of their sources: a run has the same colour in every panel."""
    curves = sorted((curve for panel in panels for curve in panel.curves), key=lambda curve: curve.source)
    return list(dict.fromkeys(curve.label for curve in curves))


def axis_of(sources: Sequence[Source]) -> str:
    """The axis for what there is: steps where anything has them, else k."""
    results_only = any(source.results for source in sources) and not any(source.metrics for source in sources)
    # As those of a run that is evaluated on the way.
    several = any(len({record.get("step") for record, _ in source.results} - {None}) > 1 for source in sources)
    return "k" if results_only and not several else "step"


def smoothed(points: Sequence[Point], window: int) -> list[Point]:
    """The mean of the `window` points around each: fewer at the ends, as many on the left as on the right."""
    ys = [point.y for point in points]
    sums = [0.0]
    for y in ys:
        sums.append(sums[-1] + y)
    means = []
    for place, point in enumerate(points):
        reach = min(window // 2, place, len(points) - 1 - place)
        total = sums[place + reach + 1] - sums[place - reach]
        means.append(Point(point.x, total / (2 * reach + 1)))
    return means


def find(record: Record, name: str) -> float | None:
    """A number in a record by a dotted path, or None."""
    value: Any = record
    for part in (name,) if name in record else name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def _names(record: Record, prefix: str = "") -> Iterator[str]:
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + key


def _known(sources: Sequence[Source]) -> tuple[list[str], list[str]]:
    """What can be drawn: by the shortest names, the usual ones first, and by the names that records have."""
    records = [record for source in sources for record in source.metrics[-1:]]
    records += [record for source in sources for record, _ in source.results[-1:] if "step" in record]
    full = sorted({name for record in records for name in _names(record)})
    usual = {name: place for place, name in enumerate(DEFAULT)}
    places = [usual.get("rewards.*" if name.startswith("rewards.") else name, len(usual)) for name in full]
    ordered = [name for _, name in sorted(zip(places, full, strict=True))]
    shorter = [re.sub(r"^rewards\.|_(mean|fraction)$", "", name) for name in ordered]
    return [
        short if _full_name(sources, short) == name else name for name, short in zip(ordered, shorter, strict=True)
    ], full


def _rewarded(source: Source) -> bool:
    return any("reward" in record for record in source.metrics)


def _defaults(sources: Sequence[Source]) -> Iterator[str]:
    rewarded = [_rewarded(source) for source in sources if source.metrics]
    if not any(rewarded):
        yield from SUPERVISED
        return
    if not all(rewarded):
        yield from LOSSES
    for name in DEFAULT:
        if name == "rewards.*":
            records = [record for source in sources for record in source.metrics]
            each = (key for record in records if isinstance(record.get("rewards"), dict) for key in record["rewards"])
            yield from (f"rewards.{key}" for key in dict.fromkeys(each))
        else:
            yield name


def _full_name(sources: Sequence[Source], name: str) -> str:
    """The name as the records spell it: `accuracy` may stand for rewards.accuracy, `length` for length_mean."""
    for full in (name, f"rewards.{name}", f"{name}_mean", f"{name}_fraction"):
        for source in sources:
            if any(find(record, full) is not None for record in source.metrics):
                return full
    return name


def _of(source: Source, label: str, name: str, axis: str) -> Iterator[Curve]:
    """The curve of one number: from the metrics, or from results of evaluations, one curve a task."""
    full = _full_name([source], name)
    places = list(_places(source.metrics, axis))
    values = ((x, find(record, full)) for x, record in zip(places, source.metrics, strict=True))
    points = [Point(x, y) for x, y in values if x is not None and y is not None]
    if points:
        sparse = len(points) < len(source.metrics) / 4
        yield Curve(label, sorted(points, key=lambda point: point.x), sparse)
        return
    tasks: dict[str, list[Point]] = {}
    for record, _ in source.results:
        x, y = _place_of(record, source.metrics, places, axis), find(record, name)
        if x is not None and y is not None:
            tasks.setdefault(str(record.get("task") or ""), []).append(Point(x, y, _interval(record, name)))
    for task, measured in tasks.items():
        more = f" {task}" if len(tasks) > 1 else ""
        yield Curve(label + more, sorted(measured, key=lambda point: point.x), True)


def _places(metrics: list[Record], axis: str) -> Iterator[float | None]:
    total = 0.0
    for record in metrics:
        if axis == "step":
            yield find(record, "step")
            continue
        # Supervised updates count the prompts in `tokens`, which nothing is learnt from.
        value = record.get("labelled_tokens", record.get("tokens")) if axis == "tokens" else record.get(axis)
        parts = value.values() if isinstance(value, dict) else (value,)
        total += sum(part for part in parts if isinstance(part, int | float))
        yield total


def _place_of(result: Record, metrics: list[Record], places: list[float | None], axis: str) -> float | None:
    """Where on the axis the step of a result lies: after the updates up to it."""
    step = find(result, "step")
    if step is None or axis == "step":
        return step
    before = [x for x, record in zip(places, metrics, strict=True) if (find(record, "step") or 0) <= step]
    return max(filter(None, before), default=0)


def _interval(record: Record, name: str) -> tuple[float, float] | None:
    given = record.get("ci95" if name == "pass@1" else f"{name}_ci95")
    if isinstance(given, list) and len(given) == 2 and all(isinstance(end, int | float) for end in given):
        return given[0], given[1]
    return None


def _over_k(sources: Sequence[Source], labels: Sequence[str]) -> Iterator[Curve]:
    """pass@k of each result; its label says no more than tells it from the others of its source."""
    for number, (source, label) in enumerate(zip(sources, labels, strict=True)):
        told = [
            (str(record.get("task") or ""), f"step {record['step']}" if "step" in record else "", file)
            for record, file in source.results
        ]
        ways = ((), (0,), (1,), (0, 1), (2,), (0, 2), (1, 2), (0, 1, 2))
        enough = (way for way in ways if len({tuple(parts[place] for place in way) for parts in told}) == len(told))
        shown = next(enough, ways[-1])
        for (record, _), parts in zip(source.results, told, strict=True):
            ks = sorted(int(key[5:]) for key in record if key.startswith("pass@") and key[5:].isdecimal())
            estimates = ((k, find(record, f"pass@{k}"), _interval(record, f"pass@{k}")) for k in ks)
            points = [Point(k, y, ends) for k, y, ends in estimates if y is not None]
            yield Curve(" ".join(filter(None, (label, *(parts[place] for place in shown)))), points, True, number)
