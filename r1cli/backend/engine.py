"""One checkpoint with its model, samplers and trainer, in this process: what both homes of the backend share.

It decides whether a batch may be applied, keeps the run's state in step with the weights, and saves. How requests
arrive (local.py, server.py) and how a gradient is computed (trainer.py) is not its business.
"""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError

from r1cli import ui
from r1cli.algorithms.settings import GrpoSettings
from r1cli.algorithms.settings import validate as validate_settings
from r1cli.backend import adapters, admission, checkpoint, rollouts, samplers
from r1cli.backend.base import EngineOptions, Prompts
from r1cli.backend.grpo import grpo_step
from r1cli.backend.model import Transformer
from r1cli.backend.tokenizer import Tokenizer
from r1cli.backend.trainer import Trainer
from r1cli.backend.trainer_lora import LoraTrainer
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.errors import InputError, R1Error
from r1cli.records import Batches, Record, thinking, whole_answer
from r1cli.runs import Run, State

SMALL_MODEL = 20_000_000  # parameters below which one thread is faster than several
SLOTS = {"cpu": 128, "cuda": 512}


class EngineLost(R1Error):
    """The weights in memory belong to no step and those on disk can't be read: the process has to end."""


class Engine:
    """Holds a checkpoint; a run can be updated, a plain model folder only sampled."""

    def __init__(self, folder: Path, run: Run | None, options: EngineOptions, note: Callable[[str], None]):
        self.folder, self.run, self.note = folder, run, note
        self.device = samplers.find_device(options.device)
        self.engine_name = samplers.pick(options, self.device)
        self.tokenizer = Tokenizer.load(folder)
        self.think_tags = tuple(self._single_token(tag) for tag in ("<think>", "</think>"))
        self.state = run.state_at(folder) if run else State()
        self.lora = adapters.Lora.of(run)
        # A GPU samples from bf16 weights and trains on their fp32 master; a CPU needs only one fp32 copy. With
        # adapters the trainer holds the base, and the sampler the weights that both together make.
        self.shared = self.device.type == "cpu" and self.lora is None
        self.dtype = dtype = torch.float32 if self.device.type == "cpu" else torch.bfloat16
        self.model = adapters.load_policy(run, self.lora, folder, dtype=dtype, device=self.device)
        self._set_threads(options.threads)
        ui.detail(f"{folder}: {self.device}, {dtype}, {torch.get_num_threads()} threads")
        self.slots = options.slots or SLOTS[self.device.type]
        self.sampler, self.evaluator = samplers.build(
            self.engine_name, self.model, self.tokenizer, folder, options, self.slots
        )
        self.checkpoint_layers = bool(options.gradient_checkpointing)
        self.trainer: Trainer | None = None
        self.reference: Transformer | None = None
        self.unsaved = 0  # iterations since the last save
        self.unlisted: list[Record] = []  # metrics that are not in metrics.jsonl yet

    def _single_token(self, text: str) -> int | None:
        ids = self.tokenizer.encode(text, False)
        return ids[0] if len(ids) == 1 else None

    def _set_threads(self, threads: int | None) -> None:
        small = sum(p.numel() for p in self.model.parameters()) < SMALL_MODEL
        if threads is None and small and "OMP_NUM_THREADS" not in os.environ:
            threads = 1
        if threads is not None:
            torch.set_num_threads(threads)

    def plan(self, request: dict[str, Any], prompts: Prompts) -> rollouts.SampleJob:
        """Prepares a sample request at the current policy; raises InputError for what cannot be sampled."""
        path = str(self.run.path if self.run else self.folder.resolve())
        return rollouts.plan(
            request,
            prompts,
            run=self.run,
            state=self.state,
            tokenizer=self.tokenizer,
            context=self.model.config.context,
            path=path,
            engine=self.engine_name,
        )

    def start(self) -> None:
        """Starts the sampler's own engine, if it has one, before somebody waits for it."""
        if self.engine_name == "vllm":
            self.sampler.start()

    def close(self) -> None:
        """Ends what `start` or the first sample started."""
        if self.engine_name == "vllm":
            self.sampler.close()

    def detach_evaluator(self) -> None:
        """Gives a running evaluation its own copy of the weights, so that an update cannot change them under it."""
        if self.evaluator.busy and self.evaluator.model is self.model:
            self.evaluator.model = copy.deepcopy(self.model)

    def attach_evaluator(self) -> None:
        """Lets the evaluation sampler follow the policy again once nothing is under way."""
        if not self.evaluator.busy:
            self.evaluator.model = self.model

    def grpo_step(
        self, batch: Batches, request: dict[str, Any], on_update: Callable[[], None] | None = None
    ) -> list[Record]:
        """Applies one batch and returns one metrics record per optimizer update.

        A batch that has been applied already gives its stored metrics. Raises InputError for a batch that is empty,
        incomplete, stale, of another run or of a rolled-back history, R1Error when the update or its saving fails. An
        update that fails half-way takes the engine back to the last saved step; one that is applied but can't be saved
        stays, and is saved with the next.
        """
        if self.run is None:
            raise InputError(f"{self.folder} is a plain model folder and is never written to; make a run with r1 init")
        admission.check_origin(batch, self.run)
        stored = self.state.find_applied(set(batch.questions), batch.fingerprint())
        if stored is not None:
            self.save(request.get("keep"))
            self.note(f"this batch was applied already, as step {stored[-1]['step']}; nothing changed")
            return stored
        if not request.get("allow_partial"):
            admission.check_complete(batch)
        stale = admission.check_age(batch, self.state, request.get("max_staleness") or 0)
        admission.check_content(batch, self.model.config, self.note)
        own = {"thinking_mean": self._thinking(batch.rollouts)}
        metrics = self._update(batch, self._settings(request), stale, on_update)
        return self._commit(batch, [{**record, **own} for record in metrics], request)

    def _update(
        self, batch: Batches, settings: GrpoSettings, stale: bool, on_update: Callable[[], None] | None
    ) -> list[Record]:
        trainer = self._trainer()
        reference = self._reference() if settings.kl else None
        self.detach_evaluator()
        if not self.shared and not self.sampler.busy:
            self.sampler.release()  # the update needs the memory of its cache
        begun = False

        def begin() -> None:
            nonlocal begun
            if on_update is not None:
                on_update()
            begun = True

        try:
            metrics = grpo_step(
                trainer,
                admission.trainer_rollouts(batch, self.model.config.context),
                settings,
                reference=reference,
                stale=stale,
                step=self.state.step,
                on_update=begin,
            )
        except Exception:
            if begun:
                self._go_back()
            raise
        return self._refresh_sampler(metrics)

    def _go_back(self) -> None:
        """Returns to the last saved step, since weights that moved half-way belong to no step."""
        self.unsaved, self.unlisted = 0, []
        try:
            self.state = self.run.go_back()
            adapters.load_policy_weights(self.model, self.run, self.lora, self.folder)
        except Exception as error:
            raise EngineLost(f"the last saved step could not be loaded again: {error}") from error
        self.trainer = self.reference = None

    def _thinking(self, rollouts: list[Record]) -> float:
        """Mean length of the thinking in tokens; by its share of the text where the tags are no tokens of their own."""
        total = 0.0
        for record in rollouts:
            ids, text = record["completion_ids"], whole_answer(record)
            thought = thinking(text)
            if not thought:
                continue
            begin, end = (ids.index(tag) if tag in ids else None for tag in self.think_tags)
            if None not in self.think_tags:
                total += (len(ids) if end is None else end) - (-1 if begin is None else begin) - 1
            else:
                total += len(ids) * len(thought) / len(text)
        return total / len(rollouts)

    def _settings(self, request: dict[str, Any]) -> GrpoSettings:
        asked = {key: value for key, value in request.get("settings", {}).items() if value is not None}
        try:
            settings = GrpoSettings.from_dict({**self.run.defaults("grpo"), **asked})
            validate_settings(settings)
        except ValueError as error:
            raise InputError(str(error)) from None
        return settings

    def _trainer(self) -> Trainer:
        if self.trainer is None:
            if self.lora:
                policy = checkpoint.load_model(self.run.step_folder(0), dtype=self.dtype, device=self.device)
            elif not self.shared:
                policy = checkpoint.load_model(self.folder, dtype=torch.float32, device=self.device)
            else:
                policy = self.model
            policy.checkpoint_layers = self.checkpoint_layers
            if self.lora:
                self.trainer = LoraTrainer(policy, self.lora, base_name=self.run.base_name, device=self.device)
            else:
                self.trainer = TorchTrainer(policy, device=self.device)
            if (self.folder / "trainer" / "optimizer.json").exists():
                self.trainer.load(self.folder / "trainer")
        return self.trainer

    def _reference(self) -> Transformer:
        if self.reference is None:
            if self.run.reference(self.state) != self.folder:
                self.save()  # the step that became the reference may have met a full disk
            folder = self.run.reference(self.state)
            if self.lora:
                self.reference = self._trainer().open_reference(folder)
                return self.reference
            self.reference = checkpoint.load_model(folder, dtype=self.dtype, device=self.device)
            self.reference.requires_grad_(False)
        return self.reference

    def _refresh_sampler(self, metrics: list[Record]) -> list[Record]:
        """Gives the sampler the weights of an update; its metrics with the gap that a sampler of its own says."""
        if not self.shared:
            mine = dict(self.model.named_parameters())
            with torch.no_grad():
                for name, master in self.trainer.weights():
                    mine[name].copy_(master)
        if self.engine_name == "torch":
            return metrics
        try:
            gap = self.sampler.sync()
        except R1Error as error:
            # The update is thrown away with the process: no step may follow that samples of other weights.
            raise EngineLost(str(error)) from error
        return [
            *({**record, "logprob_gap_sync": None} for record in metrics[:-1]),
            {**metrics[-1], "logprob_gap_sync": gap},
        ]

    def _commit(self, batch: Batches, metrics: list[Record], request: dict[str, Any]) -> list[Record]:
        config = self.run.config
        every = request.get("save_every") or config.get("save_every", 1)
        refresh = request.get("refresh_reference")
        refresh = config.get("refresh_reference", 400) if refresh is None else refresh
        moved = bool(refresh) and metrics[-1]["step"] // refresh > self.state.reference // refresh
        self.unsaved += 1
        saved = moved or self.unsaved >= every
        metrics = [{**_rounded(record), "iteration": self.state.iteration + 1, "saved": False} for record in metrics]
        metrics[-1]["saved"] = saved  # an iteration of several updates leaves one folder
        cursor = admission.question_cursor(batch, self.state)
        self.state = self.state.advance(
            list(batch.questions), metrics, samples=batch.fingerprint(), cursor=cursor, refreshed=moved
        )
        self.unlisted += metrics
        if moved:
            self.reference = None
        if saved:
            self.save(request.get("keep"))
        else:
            self._list()
        return metrics

    def save(self, keep: int | None = None) -> None:
        """Publishes the current step if anything is unsaved; raises R1Error when the disk refuses."""
        if self.unsaved:
            kept = self.run.config.get("keep", 2) if keep is None else keep
            self.run.publish(self.state, self._write, keep=kept)
            self.folder = self.run.latest()
            self.unsaved = 0
        self._list()

    def _write(self, folder: Path) -> None:
        trainer = self._trainer()
        try:
            checkpoint.copy_side_files(self.folder, folder)
            dtype = checkpoint.published_dtype(self.folder)
            if self.lora:
                trainer.publish(folder, dtype)
            else:
                checkpoint.save_weights(trainer.model, folder, dtype=dtype)
            trainer.save(folder / "trainer")
        except SafetensorError as error:
            raise R1Error(str(error)) from None

    def _list(self) -> None:
        if self.unlisted:
            self.run.append_metrics(self.unlisted)
            self.unlisted = []


def _rounded(value: Any) -> Any:
    """Floats with the seven digits that fp32 holds; more would be noise on the screen."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return float(f"{value:.7g}") if isinstance(value, float) else value


def metrics_lines(metrics: list[Record]) -> list[bytes]:
    """Metrics records as lines."""
    return [orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n" for record in metrics]
