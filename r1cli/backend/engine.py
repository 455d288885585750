"""One checkpoint with its model, samplers and trainer, in this process: what both homes of the backend share.

It decides whether a batch may be applied, keeps the run's state in step with the weights, and saves. How requests
arrive (local.py, server.py) and how a gradient is computed (trainer_torch.py) is not its business.
"""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import torch

from r1cli.algorithms.settings import GrpoSettings
from r1cli.algorithms.settings import validate as validate_settings
from r1cli.backend import checkpoint, rollouts
from r1cli.backend.base import EngineOptions, Prompts
from r1cli.backend.model import Transformer
from r1cli.backend.sampler_torch import TorchSampler
from r1cli.backend.tokenizer import Tokenizer
from r1cli.backend.trainer_torch import Rollout, TorchTrainer
from r1cli.errors import InputError
from r1cli.records import Batches, Record, thinking
from r1cli.runs import Run, State

SMALL_MODEL = 20_000_000  # parameters below which one thread is faster than several
SLOTS = {"cpu": 128, "cuda": 512}


class Engine:
    """Holds a checkpoint; a run can be updated, a plain model folder only sampled."""

    def __init__(self, folder: Path, run: Run | None, options: EngineOptions, note: Callable[[str], None]):
        self.folder, self.run, self.note = folder, run, note
        self.device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.tokenizer = Tokenizer.load(folder)
        self.think_tags = tuple(self._single_token(tag) for tag in ("<think>", "</think>"))
        self.state = run.state() if run else State()
        # A GPU samples from bf16 weights and trains on their fp32 master; a CPU needs only one fp32 copy.
        self.shared = self.device.type == "cpu"
        dtype = torch.float32 if self.shared else torch.bfloat16
        self.model = checkpoint.load_model(folder, dtype=dtype, device=self.device)
        self._set_threads(options.threads)
        self.slots = options.slots or SLOTS[self.device.type]
        self.sampler = TorchSampler(self.model, self.tokenizer, slots=self.slots)
        self.evaluator = TorchSampler(self.model, self.tokenizer, slots=self.slots)
        self.trainer: TorchTrainer | None = None
        self.reference: Transformer | None = None
        self.unsaved = 0

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
        )

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
        incomplete, stale, of another run or of a rolled-back history, R1Error when the update or its saving fails.
        """
        stored, stale = self._admit(batch, request)
        if stored is not None:
            if self.unsaved:
                self.save()
            return stored
        assert self.run is not None
        settings = self._settings(request, batch)
        trainer = self._trainer()
        reference = self._reference() if settings.kl else None
        self.detach_evaluator()
        try:
            metrics = trainer.grpo_step(
                _rollouts(batch),
                settings,
                reference=reference,
                stale=stale,
                step=self.state.step,
                on_update=on_update,
            )
        finally:
            self._refresh_sampler()
        return self._commit(batch, metrics, request)

    def _admit(self, batch: Batches, request: dict[str, Any]) -> tuple[list[Record] | None, bool]:
        if self.run is None:
            raise InputError(f"{self.folder} is a plain model folder and is never written to; make a run with r1 init")
        if batch.policy is None:
            raise InputError("no rollouts: the input is empty")
        policy, state = batch.policy, self.state
        if policy["run"] != self.run.id:
            raise InputError(f"the rollouts come from run {policy['run']} ({policy['path']}), not from {self.run.path}")
        stored = state.find_applied(set(batch.questions))
        if stored is not None:
            self.note(f"this batch was applied already, as step {stored[-1]['step']}; nothing changed")
            return stored, False
        missing = batch.missing()
        if missing and not request.get("allow_partial"):
            raise InputError(f"{missing}; no update (--allow-partial trains on what is there)")
        age = state.iteration - policy["iteration"]
        known = {entry["iteration"]: entry["version"] for entry in state.history} | {state.iteration: state.version}
        limit = request.get("max_staleness") or 0
        if known.get(policy["iteration"], policy["version"]) != policy["version"] or age < 0:
            raise InputError(
                f"the rollouts come from iteration {policy['iteration']} of a history that this run has left "
                f"(it stands at iteration {state.iteration}, step {state.step}); sample again"
            )
        if age > limit:
            raise InputError(
                f"stale rollouts: sampled at step {policy['step']} (iteration {policy['iteration']}), the run is at step "
                f"{state.step} (iteration {state.iteration}); sample again, or allow it with --max-staleness {age}"
            )
        self._check_tokens(batch)
        return None, age > 0

    def _check_tokens(self, batch: Batches) -> None:
        vocabulary, context = self.model.config.vocab_size, self.model.config.context
        prompts: dict[str, list[int]] = {}
        truncating = False
        for record in batch.rollouts:
            group = record["group"]["id"]
            ids = record["prompt_ids"]
            if prompts.setdefault(group, ids) != ids:
                raise InputError(f"group {group}: its rollouts have different prompt_ids")
            highest, lowest = max(max(ids), max(record["completion_ids"])), min(min(ids), min(record["completion_ids"]))
            if highest >= vocabulary or lowest < 0:
                raise InputError(
                    f"group {group}: token {highest} is outside the vocabulary of {vocabulary}; wrong model?"
                )
            if len(ids) + len(record["completion_ids"]) > context:
                raise InputError(f"group {group}: a rollout is longer than the model's context of {context} tokens")
            if record["sampling"]["temperature"] <= 0:
                raise InputError(f"group {group}: sampled greedily (temperature 0), which gives no policy gradient")
            truncating = truncating or record["sampling"].get("top_p", 1.0) < 1
        if truncating:
            self.note("warning: sampled with top-p < 1: the importance ratios are biased; train with --top-p 1")

    def _settings(self, request: dict[str, Any], batch: Batches) -> GrpoSettings:
        assert self.run is not None
        asked = {key: value for key, value in request.get("settings", {}).items() if value is not None}
        try:
            settings = GrpoSettings.from_dict({**self.run.defaults("grpo"), **asked})
            validate_settings(settings)
        except ValueError as error:
            raise InputError(str(error)) from None
        return settings

    def _trainer(self) -> TorchTrainer:
        if self.trainer is None:
            if not self.shared:
                policy = checkpoint.load_model(self.folder, dtype=torch.float32, device=self.device)
            else:
                policy = self.model
            self.trainer = TorchTrainer(policy, device=self.device)
            if (self.folder / "trainer" / "optimizer.json").exists():
                self.trainer.load(self.folder / "trainer")
        return self.trainer

    def _reference(self) -> Transformer:
        assert self.run is not None
        if self.reference is None:
            dtype = torch.float32 if self.shared else torch.bfloat16
            self.reference = checkpoint.load_model(self.run.reference(), dtype=dtype, device=self.device)
            self.reference.requires_grad_(False)
        return self.reference

    def _refresh_sampler(self) -> None:
        if self.shared or self.trainer is None:
            return
        with torch.no_grad():
            for mine, master in zip(self.model.parameters(), self.trainer.model.parameters(), strict=True):
                mine.copy_(master)

    def _commit(self, batch: Batches, metrics: list[Record], request: dict[str, Any]) -> list[Record]:
        assert self.run is not None
        config = self.run.config
        cursor = max(self.state.cursor, *(record["batch"].get("cursor", 0) for record in batch.rollouts))
        every = request.get("save_every") or config.get("save_every", 1)
        refresh = request.get("refresh_reference") or config.get("refresh_reference", 400)
        step = metrics[-1]["step"]
        moved = bool(refresh) and step // refresh > self.state.reference // refresh
        self.unsaved += 1
        saved = moved or self.unsaved >= every
        own = {
            "thinking_mean": self._thinking(batch.rollouts),
            "iteration": self.state.iteration + 1,
            "saved": saved,
        }
        metrics = [_rounded({**record, **own}) for record in metrics]
        self.state = self.state.advance(list(batch.questions), metrics, cursor)
        if moved:
            self.state.reference = step
            self.reference = None
        if saved:
            self.save(request.get("keep"))
        self.run.append_metrics(metrics)
        return metrics

    def _thinking(self, rollouts: list[Record]) -> float:
        """Mean tokens of thinking: exact where </think> is one token, else by its share of the characters."""
        total = 0.0
        for record in rollouts:
            ids, text = record["completion_ids"], record.get("completion") or ""
            thought = thinking(text)
            if not thought:
                continue
            begin, end = (ids.index(tag) if tag in ids else None for tag in self.think_tags)
            if None not in self.think_tags:
                total += (len(ids) if end is None else end) - (-1 if begin is None else begin) - 1
            else:
                total += len(ids) * len(thought) / len(text)
        return total / len(rollouts)

    def save(self, keep: int | None = None) -> None:
        """Publishes the current step if anything is unsaved."""
        if not self.unsaved or self.run is None:
            return
        trainer = self._trainer()
        previous = self.folder
        published = checkpoint.published_dtype(previous)

        def write(folder: Path) -> None:
            checkpoint.copy_side_files(previous, folder)
            checkpoint.save_weights(trainer.model, folder, dtype=published)
            trainer.save(folder / "trainer")

        kept = self.run.config.get("keep", 2) if keep is None else keep
        self.run.publish(self.state, write, keep=kept)
        self.folder = self.run.latest()
        self.unsaved = 0


def _rollouts(batch: Batches) -> list[Rollout]:
    # Groups are numbered by their question, so that neither the order of the lines nor the run's uuid, which is in the
    # group's id, can change the update.
    groups = {r["group"]["id"]: (str(r.get("id")), r["prompt_ids"], r["group"]["id"]) for r in batch.rollouts}
    names = {name: number for number, name in enumerate(sorted(groups, key=groups.__getitem__))}
    ordered = sorted(batch.rollouts, key=lambda r: (names[r["group"]["id"]], r["group"]["index"]))
    return [
        Rollout(
            prompt_ids=record["prompt_ids"],
            completion_ids=record["completion_ids"],
            logprobs=record["logprobs"],
            reward=record["reward"],
            rewards=record.get("rewards") or {},
            group=names[record["group"]["id"]],
            finish=record["finish"],
            temperature=float(record["sampling"]["temperature"]),
            max_tokens=record["sampling"].get("max_tokens") or len(record["completion_ids"]),
            dropped=bool(record.get("dropped")),
        )
        for record in ordered
    ]


def _rounded(value: Any) -> Any:
    """Floats with the seven digits that fp32 holds; more would be noise on the screen."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return float(f"{value:.7g}") if isinstance(value, float) else value


def metrics_lines(metrics: list[Record]) -> list[bytes]:
    """Metrics records as lines."""
    return [orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n" for record in metrics]
