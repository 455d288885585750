"""A backend in this process: the engine, driven by one command and gone with it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from r1cli import stream, ui
from r1cli.backend import finetuning, onpolicy, sft_input
from r1cli.backend.base import EngineOptions, Lines, Prompts
from r1cli.backend.checkpoint import read_config
from r1cli.backend.engine import Engine
from r1cli.backend.metrics import metrics_lines
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError
from r1cli.records import Prompt, collect
from r1cli.runs import Run


class Local:
    """Serves one command; the engine is built when the work is there, and goes with it."""

    def __init__(self, folder: Path, run: Run | None, options: EngineOptions, make: Callable[[], Run] | None = None):
        """`make` creates the run, which is only planned until then."""
        self.folder, self.run, self.options, self.make = folder, run, options, make
        self.engine: Engine | None = None

    def sample(self, request: dict[str, Any], prompts: Prompts) -> Iterator[bytes]:
        """Yields rollout lines, a group as soon as it is complete."""
        self.engine = Engine(self.folder, self.run, self.options, ui.say)
        job = self.engine.plan(request, prompts)
        sampler = self.engine.sampler
        for group in job.groups:
            sampler.add(group)
        while sampler.busy:
            for group, samples in sampler.step():
                yield from job.lines(group, samples)

    def grpo_step(self, request: dict[str, Any], lines: Lines) -> Iterator[bytes]:
        """Applies the batch and yields its metrics lines; a process of one update always saves it.

        The model is loaded when the batch is whole: until then the stage that samples needs the device.
        """
        if (request.get("save_every") or 1) > 1:
            raise InputError("--save-every needs a resident backend (r1 serve): a process of one update has to save it")
        batch = collect(lines, stream.parse)
        if self.run is None:
            raise InputError(f"{self.folder} is a plain model folder and is never written to; make a run with r1 init")
        with self.run.lock():
            self._start_training()
            yield from metrics_lines(self.engine.grpo_step(batch, {**request, "save_every": 1}))

    def sft(self, request: dict[str, Any], lines: Lines, validation: Lines | None) -> Iterator[bytes]:
        """Trains on the examples and yields a metrics line per update; the model is loaded once all have been read."""
        if self.run is None:
            raise InputError(f"{self.folder} is a plain model folder, which is never written to; name a run with --out")
        tokenizer, config = Tokenizer.load(self.folder), read_config(self.folder)
        data = sft_input.read_data(self.run, tokenizer, config, request, lines, validation, ui.say)
        if self.make is not None:
            self.run = self.make()
        with self.run.lock():
            self._start_training()
            with closing(finetuning.train(self.engine, data, request)) as updates:
                for record in updates:
                    yield from metrics_lines([record])

    def distill(self, request: dict[str, Any], prompts: list[Prompt]) -> Iterator[bytes]:
        """Trains on the student's own samples and yields a metrics line per update."""
        tokenizer, config = Tokenizer.load(self.folder), read_config(self.folder)
        onpolicy.read_work(self.run, tokenizer, config, prompts, request, lambda _: None)  # before a run is made
        if self.make is not None:
            self.run = self.make()
        with self.run.lock():
            self.engine = Engine(self.run.latest(), self.run, self.options, ui.say)
            with closing(onpolicy.train(self.engine, prompts, request)) as updates:
                for record in updates:
                    yield from metrics_lines([record])

    def _start_training(self) -> None:
        options = self.options._replace(sampler="torch")  # an update samples nothing: no other engine is started
        self.engine = Engine(self.run.latest(), self.run, options, ui.say)

    def close(self) -> None:
        """Lets go of the engine's memory on the device."""
        if self.engine is not None:
            self.engine.close()
        if self.engine is not None and self.engine.device.type == "cuda":
            import torch

            self.engine = None
            torch.cuda.empty_cache()
