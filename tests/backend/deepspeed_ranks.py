"""What the ranks of the DeepSpeed tests compute (ranks_program.py); what it should be, test_deepspeed*.py say.

Checkpoints, references and rollouts lie in the folder; nothing here knows a right answer.
"""

import dataclasses
import math
import pickle
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from deepspeed_cases import CUT, OFF_POLICY, PLACES, TRAINING

from r1cli.algorithms.settings import CHOICES
from r1cli.backend.batches import Rollout
from r1cli.backend.grpo import grpo_step
from r1cli.backend.trainer_deepspeed import DeepSpeedTrainer
from r1cli.backend.zero import ZeroSettings
from r1cli.errors import R1Error


class Cancelled(Exception):
    """Raised to stop before an update."""


def load(folder: Path, name: str) -> list[Rollout]:
    return pickle.loads((folder / name).read_bytes())


def weights(trainer: DeepSpeedTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.weights()}


def moments(trainer: DeepSpeedTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.moments()}


def gradient(
    trainer: DeepSpeedTrainer, rollouts: list[Rollout], settings: Any, **named: Any
) -> dict[str, torch.Tensor]:
    """The gradient of the first update, summed over ranks; the update itself is cancelled on all of them."""
    from deepspeed.utils import safe_get_full_grad

    found: dict[str, torch.Tensor] = {}

    def stop() -> None:
        found.update({name: safe_get_full_grad(p).clone() for name, p in trainer.parameters.items()})
        raise Cancelled

    try:
        grpo_step(trainer, rollouts, settings, **{"reference": None, "stale": False, "step": 0} | named, on_update=stop)
    except Cancelled:
        return found
    raise AssertionError("on_update was not called")


def gradients(folder: Path) -> dict[Any, Any]:
    """By stage, loss and normalisation: one trainer makes them all, each time cancelled."""
    rollouts, found = load(folder, "noisy"), {}
    for stage in (1, 2, 3):
        trainer = DeepSpeedTrainer(folder / "qwen2", ZeroSettings(stage))
        reference = trainer.open_reference(folder / "reference-qwen2")
        for loss in CHOICES["loss"]:
            for normalize in CHOICES["normalize"]:
                settings = dataclasses.replace(OFF_POLICY, loss=loss, normalize=normalize)
                grads = gradient(trainer, rollouts, settings, reference=reference, stale=True)
                found[stage, loss, normalize] = grads if trainer.rank == 0 else None
    return found


def architectures(folder: Path) -> dict[Any, Any]:
    """Heads that are not tied, norms of queries and keys, recomputed activations, everything on the host."""
    found = {}
    for kind in ("qwen2", "qwen3", "llama"):
        for place in ZeroSettings(2, "optimizer", True), ZeroSettings(3, "none", True), ZeroSettings(3, "all", False):
            trainer = DeepSpeedTrainer(folder / kind, place)
            found[kind, place] = gradient(trainer, load(folder, f"rollouts-{kind}"), CUT)
    return found


def training(folder: Path) -> dict[Any, Any]:
    """Three batches in a row: minibatches and epochs; dropped and failed rollouts and a group without signal; again."""
    rollouts, odd, found = load(folder, "rollouts-qwen3"), load(folder, "odd"), {}
    for stage, offload in PLACES:
        trainer = DeepSpeedTrainer(folder / "qwen3", ZeroSettings(stage, offload))
        start = weights(trainer)
        reference = trainer.open_reference(folder / "reference-qwen3")
        metrics = grpo_step(trainer, rollouts, TRAINING, reference=reference, stale=True, step=0)
        metrics += grpo_step(trainer, odd, CUT, reference=None, stale=False, step=4)
        metrics += grpo_step(trainer, rollouts, CUT, reference=None, stale=False, step=5)
        found[stage, offload] = {
            "start": start,
            "metrics": metrics,
            "end": weights(trainer),
            "moments": moments(trainer),
        }
    return found


def scarce(folder: Path) -> dict[Any, Any]:
    """Batches with less work than ranks: one rollout, none at all, one sequence to score."""
    rollouts, found = load(folder, "rollouts-qwen3"), {}
    one = [dataclasses.replace(r, dropped=row != 3) for row, r in enumerate(rollouts)]
    none = [dataclasses.replace(r, dropped=True) for r in rollouts]
    silent = [dataclasses.replace(r, reward=1.0) for r in rollouts]
    for stage in (1, 2, 3):
        trainer = DeepSpeedTrainer(folder / "qwen3", ZeroSettings(stage))
        metrics = [
            grpo_step(trainer, batch, CUT, reference=None, stale=False, step=step)[0]
            for step, batch in enumerate((one, none, silent))
        ]
        few = [trainer.score([(r.prompt_ids, r.completion_ids, r.temperature) for r in rollouts[:n]]) for n in (1, 5)]
        found[stage] = {"metrics": metrics, "score": few, "end": weights(trainer)}
    return found


def refusals(folder: Path) -> dict[Any, Any]:
    """An update that one rank calls off, one whose gradient is not finite, one that ends half-way, then a good one."""
    rollouts, found = load(folder, "rollouts-qwen3"), {}
    for stage, offload in PLACES:
        trainer = DeepSpeedTrainer(folder / "qwen3", ZeroSettings(stage, offload))
        grpo_step(trainer, rollouts, CUT, reference=None, stale=False, step=0)
        before = weights(trainer) | moments(trainer)
        said = []

        def no() -> None:
            if dist.get_rank() == 0:
                raise Cancelled("somebody left")

        for on_update, spoil in ((no, None), (None, spoil_next_backward), (None, fail_next_backward)):
            if spoil:
                spoil(trainer)
            try:
                grpo_step(trainer, rollouts, CUT, reference=None, stale=False, step=1, on_update=on_update)
            except (Cancelled, MemoryError, R1Error) as error:
                said.append(f"{type(error).__name__}: {error}")
        if trainer.rank == 1:
            trainer.clear()  # what a rank does alone after an error must not wait for the others
        after = weights(trainer) | moments(trainer)
        same = all(torch.equal(value, before[name]) for name, value in after.items())
        metrics = grpo_step(trainer, rollouts, CUT, reference=None, stale=False, step=1)
        found[stage, offload] = {"said": said, "same": same, "metrics": metrics, "end": weights(trainer)}
    return found


def spoil_next_backward(trainer: DeepSpeedTrainer) -> None:
    """Makes the next gradient of rank 1 not a number, while the loss stays one: only the norm can tell."""
    backward = trainer.backward

    def once(loss: torch.Tensor) -> None:
        trainer.backward = backward
        backward(loss + (0 * loss).sqrt() if trainer.rank == 1 else loss)

    trainer.backward = once


def fail_next_backward(trainer: DeepSpeedTrainer) -> None:
    """Raises after the first micro-batch of a gradient, on all ranks alike."""
    backward = trainer.backward

    def once(loss: torch.Tensor) -> None:
        trainer.backward = backward
        backward(loss)
        raise MemoryError("no more")

    trainer.backward = once


def files(folder: Path) -> dict[Any, Any]:
    """Steps, saves, publishes, goes on; loads what is torn, writes where nothing can be written."""
    rollouts, found = load(folder, "rollouts-qwen3"), {}
    for stage in (1, 2, 3):
        trainer = DeepSpeedTrainer(folder / "qwen3", ZeroSettings(stage))
        grpo_step(trainer, rollouts, TRAINING, reference=trainer.open_reference(folder / "qwen3"), stale=True, step=0)
        target = folder / f"two-{stage}"
        trainer.publish(target, torch.float32)
        trainer.publish(target / "bf16", torch.bfloat16)
        trainer.save(target / "trainer")
        at = weights(trainer)
        errors = []
        for act, where in (
            (trainer.load, "torn"),
            (trainer.load, "llama-state"),
            (trainer.save, "qwen3/config.json/x"),
        ):
            try:
                act(folder / where)
            except R1Error as error:
                errors.append(str(error))
        same = all(torch.equal(value, at[name]) for name, value in trainer.weights())
        grpo_step(trainer, rollouts, CUT, reference=None, stale=False, step=4)
        found[stage] = {"at": at, "errors": errors, "same": same, "next": weights(trainer)}
    trainer = DeepSpeedTrainer(folder / "torch", ZeroSettings(3))
    at = weights(trainer)
    grpo_step(trainer, rollouts, CUT, reference=None, stale=False, step=4)
    found["torch"] = {"at": at, "next": weights(trainer)}
    return found


def resumed(folder: Path) -> dict[Any, Any]:
    """Goes on from what two ranks saved, at the next stage; saves at once, then steps."""
    rollouts, found = load(folder, "rollouts-qwen3"), {}
    for stage in (1, 2, 3):
        trainer = DeepSpeedTrainer(folder / f"two-{stage}", ZeroSettings(stage % 3 + 1))
        at = weights(trainer)
        trainer.publish(folder / f"three-{stage}", torch.float32)
        trainer.save(folder / f"three-{stage}" / "trainer")
        grpo_step(trainer, rollouts, CUT, reference=None, stale=False, step=4)
        found[stage] = {"at": at, "next": weights(trainer)}
    return found


def alone(folder: Path) -> dict[Any, Any]:
    """One rank, from what three saved."""
    rollouts, found = load(folder, "rollouts-qwen3"), {}
    for stage in (1, 2, 3):
        trainer = DeepSpeedTrainer(folder / f"three-{stage}", ZeroSettings(stage))
        at = weights(trainer)
        grpo_step(trainer, rollouts, CUT, reference=None, stale=False, step=4)
        found[stage] = {"at": at, "next": weights(trainer)}
    return found


def low_precision(folder: Path) -> dict[Any, Any]:
    """bf16 over fp32: log-probs, a gradient, and a step too small for bf16 to show."""
    rollouts, found = load(folder, "rollouts-qwen2"), {}
    tiny = dataclasses.replace(CUT, lr=1e-6, adam_eps=1e-8, weight_decay=0.0)
    for stage, offload in PLACES:
        trainer = DeepSpeedTrainer(folder / "qwen2", ZeroSettings(stage, offload), dtype=torch.bfloat16)
        start = weights(trainer)
        score = trainer.score([(r.prompt_ids, r.completion_ids, r.temperature) for r in rollouts])
        grads, again = (gradient(trainer, rollouts, CUT) for _ in range(2))
        for step in range(3):
            grpo_step(trainer, rollouts, tiny, reference=None, stale=False, step=step)
        computed = {parameter.dtype for parameter in trainer.parameters.values()}
        narrow = {name: value.clone() for name, value in trainer.weights(torch.bfloat16)}
        end = {"start": start, "end": weights(trainer), "narrow": narrow, "dtypes": computed}
        found[stage, offload] = {"score": score, "gradient": grads, "again": again, **end}
    return found


def spread(folder: Path) -> dict[str, Any]:
    """Elements of policy and reference that a rank holds at stage 3, before and after they were used."""
    trainer = DeepSpeedTrainer(folder / "qwen2", ZeroSettings(3))
    reference = trainer.open_reference(folder / "reference-qwen2")
    rollouts = load(folder, "rollouts-qwen2")
    found: dict[str, Any] = {"whole": sum(math.prod(shape) for shape in trainer.shapes().values())}
    held = []
    for _ in range(2):
        for model in (trainer.parameters, dict(reference.module.policy.named_parameters())):
            matrices = [p for p in model.values() if len(p.ds_shape) > 1]
            held.append(sum(p.ds_tensor.numel() + p.data.numel() for p in matrices))
            found["matrices"] = sum(p.ds_numel for p in matrices)
        settings = dataclasses.replace(CUT, kl=0.1)
        grpo_step(trainer, rollouts, settings, reference=reference, stale=False, step=0)
    found["held"] = held
    return found
