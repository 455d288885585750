"""One checkpoint and what becomes of it: what both homes of the backend share.

It decides whether a batch may be applied, keeps the run's state in step with the weights, and saves. How requests
arrive (local.py, server.py) is not its business, nor what is done with the weights, in one process or in many
(learner.py).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from r1cli.algorithms.settings import GrpoSettings, refuse_idle
from r1cli.algorithms.settings import validate as validate_settings
from r1cli.backend import admission, checkpoint, rollouts
from r1cli.backend.base import EngineOptions, Prompts
from r1cli.backend.learner import EngineLost, Learner
from r1cli.backend.metrics import stamped, thinking_mean
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError
from r1cli.records import Batches, Record
from r1cli.runs import Run, State

__all__ = ["Engine", "EngineLost"]


class Engine:
    """Holds a checkpoint; a run can be updated, a plain model folder only sampled."""

    def __init__(
        self,
        folder: Path,
        run: Run | None,
        options: EngineOptions,
        note: Callable[[str], None],
        make: Callable[[Path, EngineOptions, Tokenizer], Learner] = Learner,
    ):
        self.folder, self.run, self.note = folder, run, note
        self.tokenizer = Tokenizer.load(folder)
        self.think_tags = tuple(self._single_token(tag) for tag in ("<think>", "</think>"))
        self.state = run.state_at(folder) if run else State()
        self.learner = learner = make(folder, options, self.tokenizer)
        self.device, self.engine_name, self.slots = learner.device, learner.engine_name, learner.slots
        self.sampler, self.evaluator = learner.sampler, learner.evaluator
        self.config = learner.model.config
        self.unsaved = 0  # iterations since the last save
        self.unlisted: list[Record] = []  # metrics that are not in metrics.jsonl yet

    def _single_token(self, text: str) -> int | None:
        ids = self.tokenizer.encode(text, False)
        return ids[0] if len(ids) == 1 else None

    def plan(self, request: dict[str, Any], prompts: Prompts) -> rollouts.SampleJob:
        """Prepares a sample request at the current policy; raises InputError for what cannot be sampled."""
        path = str(self.run.path if self.run else self.folder.resolve())
        return rollouts.plan(
            request,
            prompts,
            run=self.run,
            state=self.state,
            tokenizer=self.tokenizer,
            context=self.config.context,
            path=path,
            engine=self.engine_name,
        )

    def start(self) -> None:
        """Starts the sampler's own engine, if it has one, before somebody waits for it."""
        self.learner.start()

    def close(self) -> None:
        """Ends what `start` or the first sample started."""
        self.learner.close()

    def attach_evaluator(self) -> None:
        """Lets evaluations follow the policy again once none is under way that began before an update."""
        if self.learner.frozen and not self.evaluator.busy:
            self.learner.thaw()

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
        admission.check_content(batch, self.config, self.note)
        own = {"thinking_mean": thinking_mean(batch.rollouts, self.think_tags)}
        settings = self._settings(request)
        reference = self._reference() if settings.kl else None

        def step(begin: Callable[[], None]) -> list[Record]:
            return self.learner.grpo(
                admission.trainer_rollouts(batch, self.config.context),
                settings,
                reference=reference,
                stale=stale,
                step=self.state.step,
                on_update=begin,
            )

        metrics = self.update(step, on_update)
        return self._commit(batch, [{**record, **own} for record in metrics], request)

    def update(
        self,
        step: Callable[[Callable[[], None]], list[Record]],
        on_update: Callable[[], None] | None = None,
    ) -> list[Record]:
        """Runs `step(begin)`, which changes the policy and returns metrics, and gives the sampler the result.

        `step` calls `begin` before the first weight moves; `on_update` is then called and may raise to cancel. A
        failure after that takes the engine back to the last saved step.
        """
        if self.evaluator.busy:
            self.learner.freeze()
        begun = False

        def begin() -> None:
            nonlocal begun
            if on_update is not None:
                on_update()
            begun = True

        try:
            metrics = step(begin)
        except EngineLost:
            raise
        except Exception:
            if begun:
                self._go_back()
            raise
        gap = self.learner.refresh()
        if gap is None:
            return metrics
        unknown = [{**record, "logprob_gap_sync": None} for record in metrics[:-1]]
        return [*unknown, {**metrics[-1], "logprob_gap_sync": gap}]

    def _go_back(self) -> None:
        """Returns to the last saved step, since weights that moved half-way belong to no step."""
        self.unsaved, self.unlisted = 0, []
        try:
            self.state = self.run.go_back()
            self.learner.reset(self.folder)
        except Exception as error:
            raise EngineLost(f"the last saved step could not be loaded again: {error}") from error

    def _settings(self, request: dict[str, Any]) -> GrpoSettings:
        asked = {key: value for key, value in request.get("settings", {}).items() if value is not None}
        try:
            settings = GrpoSettings.from_dict({**self.run.defaults("grpo"), **asked})
            validate_settings(settings)
            refuse_idle(asked, settings)
        except ValueError as error:
            raise InputError(str(error)) from None
        return settings

    def _reference(self) -> Path:
        folder = self.run.reference(self.state)
        if folder != self.folder:
            self.save()  # the step that became the reference may have met a full disk
        return folder

    def _commit(self, batch: Batches, metrics: list[Record], request: dict[str, Any]) -> list[Record]:
        config = self.run.config
        every = request.get("save_every") or config.get("save_every", 1)
        refresh = request.get("refresh_reference")
        refresh = config.get("refresh_reference", 400) if refresh is None else refresh
        moved = bool(refresh) and metrics[-1]["step"] // refresh > self.state.reference // refresh
        saved = moved or self.unsaved + 1 >= every
        metrics = stamped(metrics, self.state.iteration + 1, saved)
        cursor = admission.question_cursor(batch, self.state)
        state = self.state.advance(
            list(batch.questions), metrics, samples=batch.fingerprint(), cursor=cursor, refreshed=moved
        )
        self.commit(state, metrics, request.get("keep"))
        return metrics

    def commit(self, state: State, metrics: list[Record], keep: int | None) -> None:
        """Takes over the state that an iteration has led to, and publishes it when its metrics say so.

        Raises R1Error when the disk refuses; what was reached is then saved with the next one.
        """
        self.state = state
        self.unsaved += 1
        self.unlisted += metrics
        if metrics[-1]["saved"]:
            self.save(keep)
        else:
            self._list()

    def save(self, keep: int | None = None) -> None:
        """Publishes the current step if anything is unsaved; raises R1Error when the disk refuses."""
        if self.unsaved:
            kept = self.run.config.get("keep", 2) if keep is None else keep
            self.run.publish(self.state, self._write, keep=kept)
            self.folder = self.run.latest()
            self.unsaved = 0
        self._list()

    def _write(self, folder: Path) -> None:
        checkpoint.copy_side_files(self.folder, folder)
        self.learner.save(folder, self.folder)

    def _list(self) -> None:
        if self.unlisted:
            self.run.append_metrics(self.unlisted)
            self.unlisted = []
