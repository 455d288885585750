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
        if writable and run is not None:
            self.stack.enter_context(run.lock())
            folder = run.latest()
        self.engine: Engine | None = Engine(folder, run, options, ui.say)

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
        """Applies the batch and yields its metrics lines; a process of one update always saves it."""
        batch = collect(lines, stream.parse)
        yield from metrics_lines(self.engine.grpo_step(batch, {**request, "save_every": 1}))

    def close(self) -> None:
        """Lets go of the run and of the engine's memory on the device."""
        self.stack.close()
        if self.engine is not None and self.engine.device.type == "cuda":
            import torch

            self.engine = None
            torch.cuda.empty_cache()
