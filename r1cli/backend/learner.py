"""What happens on every rank: a model that is sampled, a trainer, and the few things that are done with them.

An engine in one process calls its learner at once; over several, each rank has one and rank 0 calls them all together
(ranks.py). Which batch may be applied, where the run stands and when it is saved is the engine's business (engine.py).
"""

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from r1cli import ui
from r1cli.algorithms.settings import GrpoSettings
from r1cli.algorithms.sft_settings import SftSettings
from r1cli.backend import checkpoint, samplers, trainers
from r1cli.backend.adapters import Lora, load_policy, load_policy_weights
from r1cli.backend.base import EngineOptions
from r1cli.backend.batches import Rollout
from r1cli.backend.grpo import grpo_step
from r1cli.backend.sft import Example, sft_step, sft_sums
from r1cli.backend.teaching import Teaching
from r1cli.backend.tokenizer import Tokenizer
from r1cli.backend.trainer import Trainer
from r1cli.backend.trainer_lora import LoraTrainer
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.errors import R1Error

SMALL_MODEL = 20_000_000  # parameters below which one thread is faster than several
SLOTS = {"cpu": 128, "cuda": 512}


class EngineLost(R1Error):
    """The weights in memory belong to no step and those on disk can't be read: the process has to end."""


class Learner:
    """This process's part of an engine, at the weights of a folder; `world` processes, `near` of them on this machine.

    Every method but those of the sampler is called on all ranks with equal arguments.
    """

    def __init__(self, folder: Path, options: EngineOptions, tokenizer: Tokenizer, *, world: int = 1, near: int = 1):
        self.folder, self.options = folder, options
        self.device = samplers.find_device(options.device)
        self.engine_name = samplers.pick(options, self.device)
        self.trainer_name, self.world = trainers.pick(options, world, lora=Lora.of(folder) is not None), world
        self.zero = options.zero or trainers.ZERO if self.trainer_name == "deepspeed" else None
        if self.trainer_name == "deepspeed":
            _join_alone(self.device)
        # A GPU samples from bf16 weights and trains on their fp32 master; a CPU needs only one fp32 copy, unless the
        # trainer lays it out in its own way or has a base and adapters.
        on_cpu = self.device.type == "cpu"
        self.shared = on_cpu and self.trainer_name == "torch"
        dtype = torch.float32 if on_cpu else torch.bfloat16
        self.model = load_policy(folder, dtype=dtype, device=self.device)
        self._set_threads(options.threads, near)
        ui.detail(f"{folder}: {self.device}, {dtype}, {torch.get_num_threads()} threads")
        self.slots = options.slots or SLOTS[self.device.type]
        self.sampler, self.evaluator = samplers.build(
            self.engine_name, self.model, tokenizer, folder, options, self.slots
        )
        self.frozen = False  # evaluations go on with a copy of older weights
        self._trainer: Trainer | None = None
        self._reference: tuple[Path, nn.Module] | None = None
        self._teacher: tuple[Path, nn.Module] | None = None

    def _set_threads(self, threads: int | None, near: int) -> None:
        small = sum(p.numel() for p in self.model.parameters()) < SMALL_MODEL
        if threads is None and "OMP_NUM_THREADS" not in os.environ and (small or near > 1):
            # Ranks on one machine share its cores, and threads that wait for one another's cores spin.
            threads = 1 if small else max(1, (os.cpu_count() or 1) // near)
        if threads is not None:
            torch.set_num_threads(threads)

    def start(self) -> None:
        """Starts the sampler's own engine, if it has one, before somebody waits for it."""
        if self.engine_name == "vllm":
            self.sampler.start()

    def close(self) -> None:
        """Ends what `start` or the first sample started."""
        if self.engine_name == "vllm":
            self.sampler.close()

    def trainer(self) -> Trainer:
        """The trainer, made at its first use: who only samples needs no room for it."""
        if self._trainer is None:
            self._trainer = self._deepspeed() if self.trainer_name == "deepspeed" else self._torch()
        return self._trainer

    def _deepspeed(self) -> Trainer:
        from r1cli.backend.trainer_deepspeed import DeepSpeedTrainer, ZeroSettings

        settings = ZeroSettings(
            stage=self.zero,
            offload=self.options.offload or "none",
            gradient_checkpointing=bool(self.options.gradient_checkpointing),
        )
        return DeepSpeedTrainer(self.folder, settings, device=self.device)

    def _torch(self) -> Trainer:
        policy = self.model
        lora = Lora.of(self.folder)
        if lora:
            # Frozen, so it needs no more than the sampler's precision.
            policy = checkpoint.load_model(lora.base, dtype=policy.head_weight.dtype, device=self.device)
        elif not self.shared:
            policy = checkpoint.load_model(self.folder, dtype=torch.float32, device=self.device)
        policy.checkpoint_layers = bool(self.options.gradient_checkpointing)
        trainer = LoraTrainer(policy, lora, device=self.device) if lora else TorchTrainer(policy, device=self.device)
        if (self.folder / "trainer" / "optimizer.json").exists():
            trainer.load(self.folder / "trainer")
        return trainer

    def freeze(self) -> None:
        """Gives evaluations a copy of the weights, so that an update cannot change them under one that is under way."""
        if not self.frozen and self.evaluator is not self.sampler:
            self.evaluator.model = copy.deepcopy(self.model)
            self.frozen = True

    def thaw(self) -> None:
        """Lets evaluations follow the policy again; only when none is under way."""
        self.evaluator.model, self.frozen = self.model, False

    def grpo(
        self,
        rollouts: list[Rollout],
        settings: GrpoSettings,
        *,
        stale: bool,
        step: int,
        reference: Path | None,
        on_update: Callable[[], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Updates the trainer's weights on a batch; `reference` is the folder of the KL reference.

        Arguments, result and errors are those of grpo.grpo_step. The sampler has the old weights until `refresh`.
        """
        trainer = self._roomy_trainer()
        return grpo_step(
            trainer,
            rollouts,
            settings,
            reference=self._open_reference(trainer, reference) if reference else None,
            stale=stale,
            step=step,
            on_update=on_update,
        )

    def sft(
        self,
        examples: Sequence[Example],
        settings: SftSettings,
        *,
        step: int,
        teaching: Teaching | None = None,
        told: list[list[float]] | None = None,
        on_update: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Updates the trainer's weights on a batch of examples, as sft.sft_step does."""
        trainer = self._roomy_trainer()
        folder = teaching.folder if teaching else None
        teacher = self._open_teacher(trainer, folder) if folder else None
        given = {"teaching": teaching, "teacher": teacher, "told": told}
        return sft_step(trainer, examples, settings, step=step, on_update=on_update, **given)

    def sft_sums(self, examples: Sequence[Example], settings: SftSettings) -> tuple[float, int]:
        """What sft.sft_sums says of examples under the policy as it is."""
        return sft_sums(self._roomy_trainer(), examples, settings)

    def restore(self, folder: Path) -> None:
        """Takes the weights and the optimizer's state of a saved step; the sampler has its own until `refresh`."""
        self.trainer().load(folder / "trainer")

    def _roomy_trainer(self) -> Trainer:
        """The trainer, once the memory of the sampler's cache is free for it."""
        trainer = self.trainer()
        if not self.shared and not self.sampler.busy:
            self.sampler.release()
        return trainer

    def _open_reference(self, trainer: Trainer, folder: Path) -> nn.Module:
        if self._reference is None or self._reference[0] != folder:
            self._reference = None  # its memory goes before the next one comes
            self._reference = folder, trainer.open_reference(folder)
        return self._reference[1]

    def _open_teacher(self, trainer: Trainer, folder: Path) -> nn.Module:
        if self._teacher is None or self._teacher[0] != folder:
            self._teacher = None  # its memory goes before the next one comes
            self._teacher = folder, trainer.open_teacher(folder)
        return self._teacher[1]

    def score(self, sequences: Sequence[tuple[list[int], list[int], float]]) -> list[list[float]]:
        """Log-probs of completions under the policy, as Trainer.score gives them."""
        return self.trainer().score(sequences)

    def refresh(self) -> float | None:
        """Gives the sampler the trainer's weights; the gap that a sampler with weights of its own finds, else None.

        Raises EngineLost when they do not arrive: no step may follow that samples from other weights.
        """
        if not self.shared:
            mine = dict(self.model.named_parameters())
            with torch.no_grad():
                for name, master in self.trainer().weights():
                    mine[name].copy_(master)
        if self.engine_name == "torch":
            return None
        try:
            return self.sampler.sync()
        except R1Error as error:
            raise EngineLost(str(error)) from error

    def save(self, folder: Path, origin: Path) -> None:
        """Writes weights, in the dtype that `origin` publishes, and the trainer's state into a new step's folder."""
        trainer = self.trainer()
        trainer.publish(folder, checkpoint.published_dtype(origin))
        trainer.save(folder / "trainer")

    def reset(self, folder: Path) -> None:
        """Goes back to a saved step: its weights now, its optimizer state with the next update."""
        self._trainer = self._reference = self._teacher = None
        self.folder = folder
        load_policy_weights(self.model, folder)


def _join_alone(device: torch.device) -> None:
    """Makes this process a torch.distributed group of one, unless it is in one: DeepSpeed needs a group even so."""
    # What a launcher would have set, and DeepSpeed asks for.
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_SIZE", "1")):
        os.environ.setdefault(name, value)
    if not torch.distributed.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, store=torch.distributed.HashStore(), rank=0, world_size=1)
