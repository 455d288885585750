"""Judges samples for an evaluation: each by the reward that says "correct" for its task, marked with the grader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from r1cli.evaluation.setting import grader_name
from r1cli.rewards import JUDGES, Grader, Options, function_of, open_grader, reward_of
from r1cli.rewards.judges import After, Answer, FunctionJudge, Judge
from r1cli.rewards.verdict import not_applicable

_ELSEWHERE = "other_task"


class _OfItsTask(Judge):
    """A judge that is asked only about records of its own task."""

    def __init__(self, judge: Judge):
        self.inner, self.name, self.unbounded = judge, judge.name, judge.unbounded

    def submit(self, record: dict) -> Answer | After:
        """The judge's answer, or none for a record of another task."""
        if reward_of(record.get("task")) != self.name:
            return not_applicable(_ELSEWHERE)
        return self.inner.submit(record)

    def finish(self) -> None:
        """No more records will come."""
        self.inner.finish()

    def settle(self) -> None:
        """Nothing waits any more."""
        self.inner.settle()

    def close(self) -> None:
        """Frees what the judge holds."""
        self.inner.close()


def open_task_grader(tasks: Iterable[object], options: Options) -> Grader:
    """A grader for records of these tasks, to be closed; raises R1Error where a judge cannot work on this machine."""
    names = sorted({reward_of(task) for task in tasks})
    judges = []
    for name in names:
        judge = JUDGES[name](options) if name in JUDGES else FunctionJudge(name, function_of(name), options)
        judges.append(_OfItsTask(judge))
    return open_grader(dict.fromkeys(names, 1.0) | {"format": 0.0}, options, judges)


def judged(grader: Grader, samples: Iterable[tuple[dict, str]], *, lenient: bool) -> Iterator[tuple[dict, str]]:
    """Yields (record with its verdict, place) in input order, while `samples` are still being drawn.

    Raises InputError for a record that can't be judged, and what `samples` raises.
    """
    name = grader_name(lenient=lenient)
    for (record, where), verdict in grader.run((record, where, (record, where)) for record, where in samples):
        yield _marked(record, verdict, name), where


def _marked(record: dict, verdict: dict, grader: str) -> dict[str, Any]:
    """The record with its verdict, without the judges of other tasks."""
    infos: dict[str, Any] = verdict["reward_info"]
    for name in [name for name, info in infos.items() if info.get("reason") == _ELSEWHERE]:
        del infos[name], verdict["rewards"][name]
    infos[reward_of(record.get("task"))]["grader"] = grader
    return record | verdict
