"""What a run remembers of its past: the state committed with a step, and metrics.jsonl, which has to agree with it.

The state is the truth. metrics.jsonl is for people and programs to read, and is put right after a crash.
"""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from r1cli.atomic import replace_file
from r1cli.errors import InputError
from r1cli.records import digest

REMEMBERED = 64  # iterations whose batches and versions a run remembers, for retries and for --max-staleness
OUTCOME = ("step", "loss", "grad_norm", "lr", "reward", "kl")


class State(NamedTuple):
    """What is committed with a step: both clocks, the question cursor, and what has been applied.

    `step` counts optimizer updates, `iteration` counts grpo-step calls and single updates of sft. `version` is a hash
    chain over the updates, so that rollouts of a history that was rolled back are not mistaken for current ones.
    `references` are the steps that have been the KL reference, the last one being it. `trainings` are the supervised
    trainings of the run, in order; only the last one can be unfinished (backend/finetuning.py says what they hold).
    """

    step: int = 0
    iteration: int = 0
    cursor: int = 0
    version: str = ""
    references: tuple[int, ...] = (0,)
    applied: tuple[dict[str, Any], ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    trainings: tuple[dict[str, Any], ...] = ()

    @classmethod
    def load(cls, file: Path) -> "State":
        """The state in a step's file; raises OSError, and ValueError or TypeError for another file."""
        values: dict[str, Any] = json.loads(file.read_bytes())
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**fields)

    @property
    def reference(self) -> int:
        """The step that is the KL reference."""
        return self.references[-1]

    @property
    def needed(self) -> tuple[int, ...]:
        """Steps that must stay on disk besides the newest: references, and the best one of an unfinished training."""
        last: dict[str, Any] = self.trainings[-1] if self.trainings else {"finished": True}
        best = None if last["finished"] else last["best"]
        return (*self.references, best["step"]) if best else self.references

    def find_applied(self, batches: set[str], samples: str) -> list[dict[str, Any]] | None:
        """The stored metrics of an update that used exactly these batches and samples of them (Batches.fingerprint).

        Raises InputError when it used only some of the batches, or other samples of them.
        """
        for entry in self.applied:
            known = set(entry["batches"])
            if known == batches and entry["samples"] == samples:
                return entry["metrics"]
            if known & batches:
                twice = ", ".join(sorted(known & batches))
                step = entry["metrics"][-1]["step"]
                raise InputError(f"batch {twice} was applied at step {step}, with other rollouts; sample again")
        return None

    def advance(
        self,
        batches: list[str],
        metrics: list[dict[str, Any]],
        *,
        samples: str = "",
        cursor: int,
        refreshed: bool = False,
    ) -> "State":
        """The state after an iteration that applied these batches and wrote these metrics."""
        here = {"iteration": self.iteration, "step": self.step, "version": self.version}
        step = metrics[-1]["step"]
        # The numbers of the update tell one history from another that applied the same batch with other settings.
        outcome = [[record.get(key) for key in OUTCOME] for record in metrics]
        return State(
            step=step,
            iteration=self.iteration + 1,
            cursor=cursor,
            version=digest(self.version, sorted(batches), outcome),
            references=(*self.references, step) if refreshed else self.references,
            applied=(*self.applied, {"batches": sorted(batches), "samples": samples, "metrics": metrics})[-REMEMBERED:],
            history=(*self.history, here)[-REMEMBERED:],
            trainings=self.trainings,
        )


def append_metrics(run: Path, metrics: list[dict[str, Any]]) -> None:
    """Appends update records to metrics.jsonl, all of them or none; raises OSError."""
    path = run / "metrics.jsonl"
    data = "".join(json.dumps(record) + "\n" for record in metrics).encode()
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                file.truncate(size)
            raise


def repair_metrics(run: Path, state: State) -> None:
    """Makes metrics.jsonl agree with a state after a crash.

    Updates that were lost with the crash are moved to metrics.lost.jsonl; those saved but not yet listed are added.
    """
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    kept: list[bytes] = []
    lost: list[bytes] = []
    listed = 0
    for line in lines:
        try:
            step = int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            lost.append(line)  # torn by the crash
            continue
        (kept if step <= state.step else lost).append(line)
        listed = max(listed, step) if step <= state.step else listed
    known = [record for entry in state.applied for record in entry["metrics"] if listed < record["step"]]
    if not lost and not known:
        return
    if lost:
        with (run / "metrics.lost.jsonl").open("ab") as file:
            file.write(b"".join(line.rstrip(b"\n") + b"\n" for line in lost))
    replace_file(path, b"".join(kept + [json.dumps(record).encode() + b"\n" for record in known]))
