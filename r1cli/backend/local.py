"""A backend in this process: the engine, driven by one command and gone with it."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from r1cli import stream, ui
from r1cli.backend.base import EngineOptions, Prompts
from r1cli.backend.engine import Engine, metrics_lines
from r1cli.records import collect
from r1cli.runs import Run


class Local:
    """Serves one command; holds the run's lock while it may write."""

    def __init__(self, folder: Path, run: Run | None, options: EngineOptions, *, writable: bool):
        self.stack = ExitStack()
        self.options = options
        if writable and run is not None:
            self.stack.enter_context(run.lock())
            folder = run.latest()
        self.engine = Engine(folder, run, options, ui.say)

    def sample(self, request: dict[str, Any], prompts: Prompts) -> Iterator[bytes]:
        """Yields rollout lines, a group as soon as it is complete."""
        job = self.engine.plan(request, prompts)
        sampler = self.engine.sampler
        for group in job.groups:
            sampler.add(group)
        while sampler.busy:
            for group, samples in sampler.step():
                yield from job.lines(group, samples)

    def grpo_step(self, request: dict[str, Any], lines: Iterable[tuple[bytes, str]]) -> Iterator[bytes]:
        """Applies the batch and yields its metrics lines; a single step is always saved."""
        batch = collect(lines, stream.parse)
        metrics = self.engine.grpo_step(batch, {**request, "save_every": 1})
        self.engine.save(request.get("keep"))
        yield from metrics_lines(metrics)

    def close(self) -> None:
        """Lets go of the run."""
        self.stack.close()
