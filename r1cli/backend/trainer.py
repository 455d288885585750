"""What every trainer does: packs sequences, deals them out, computes log-probs, applies a gradient.

What is left to a subclass are the primitives: how log-probs and gradients are computed, in one process
(trainer_torch.py) or over ranks that all run this code on the same batch. What is minimised is not its business
(grpo.py).
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from r1cli.algorithms.schedule import learning_rate
from r1cli.algorithms.settings import MICRO_TOKENS
from r1cli.backend.batches import check_sequence
from r1cli.backend.packing import MicroBatch, pack, plan
from r1cli.errors import InputError, R1Error


class Trainer(ABC):
    """Holds a policy with fp32 master weights and its optimizer state.

    `model` is what `logprobs` takes for the policy; `device` is where batches are laid out. Methods that say so are
    collective: every rank calls them, in the same order.
    """

    model: nn.Module
    device: torch.device
    steps: int  # optimizer updates so far
    rank = 0

    @abstractmethod
    def logprobs(self, model: nn.Module, micro: MicroBatch, temperatures: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies [M] of a micro-batch, in the trainer's precision; temperatures of all sequences [B].

        With gradients to the model's parameters unless under no_grad.
        """

    def top_logprobs(
        self, model: nn.Module, teacher: nn.Module, micro: MicroBatch, count: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """At each target of a micro-batch the tokens that a teacher finds likeliest: log-probs [M, count] of the model,
        with gradients, and of the teacher; and the model's entropies [M], without.

        Raises InputError where this trainer can't.
        """
        raise InputError("--top-k is computed by a single process: serve the run without --gpus, or leave --top-k out")

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of a share of the loss; the shares of all micro-batches and ranks add up."""

    @abstractmethod
    def norm(self) -> float:
        """Global 2-norm of the gradient of the whole minibatch."""

    @abstractmethod
    def update(self, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, scale: float) -> None:
        """One step of AdamW with gradients times `scale`."""

    @abstractmethod
    def clear(self) -> None:
        """Drops the gradients."""

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter by its checkpoint name."""

    @abstractmethod
    def weights(self, dtype: torch.dtype = torch.float32) -> Iterator[tuple[str, Tensor]]:
        """Every parameter in `dtype`, whole, one at a time in the order of `shapes`; collective.

        What is not kept may be freed at the next. An iteration once begun has to be finished. Asking for the dtype
        that ranks compute in saves most of what they would send.
        """

    @abstractmethod
    def moments(self) -> Iterator[tuple[str, Tensor]]:
        """Adam's moments as exp_avg.NAME of all parameters, then exp_avg_sq.NAME, as `weights`; after an update."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes what trainer_files.py describes into the folder, which it makes; collective."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Restores what any trainer's save wrote; collective.

        Raises R1Error, changing nothing, when it is missing, torn or of another model.
        """

    @abstractmethod
    def publish(self, folder: Path, dtype: torch.dtype) -> None:
        """Writes the weights as the folder's model.safetensors in `dtype`; collective."""

    @abstractmethod
    def open_reference(self, folder: Path) -> nn.Module:
        """A frozen model with a folder's weights, for `logprobs`; collective."""

    def open_teacher(self, folder: Path) -> nn.Module:
        """A frozen model of any shape with a folder's weights, for `logprobs`; collective."""
        return self.open_reference(folder)

    def deal(
        self,
        prompts: list[list[int]],
        completions: list[list[int]],
        groups: Sequence[Any],
        budget: int,
    ) -> list[list[int]]:
        """This rank's micro-batches: equally many on every rank, empty ones where there are none.

        An empty one is computed all the same, for its part in what the ranks do together.
        """
        return plan(prompts, completions, groups, budget)

    def agree(self, error: str | None) -> None:
        """Raises R1Error on all ranks when one of them gives an error; collective."""
        if error is not None:
            raise R1Error(error)

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all ranks."""
        return values

    def gather(self, stats: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """The stats of all ranks, in the same order on each."""
        return [stats]

    def begin(self, on_update: Callable[[], None] | None) -> None:
        """Calls `on_update`, which may raise to cancel; all ranks go on, or none."""
        if on_update is not None:
            on_update()

    def apply(
        self, stats: dict[str, Any], settings: Any, *, step: int, on_update: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Applies the gradient that has been collected; returns grad_norm, lr and the seconds that the optimizer took.

        `settings` has the fields of AdamW and of the schedule, `step` counts the updates before this one. Raises
        R1Error, changing nothing, when a number of the stats or the gradient's norm is not finite.
        """
        began = time.perf_counter()
        norm = self.norm()
        if not all(math.isfinite(value) for value in (norm, *stats.values()) if value is not None):
            raise R1Error(
                f"update {step + 1}: loss {stats['loss']}, gradient norm {norm}, expected finite numbers; it was not "
                "applied: go back to the last saved step and lower the learning rate"
            )
        self.begin(on_update)
        rate = learning_rate(step, settings)
        self.update(
            lr=rate,
            beta1=settings.beta1,
            beta2=settings.beta2,
            eps=settings.adam_eps,
            weight_decay=settings.weight_decay,
            scale=min(1.0, settings.grad_clip / (norm + 1e-6)),
        )
        self.clear()
        return {"grad_norm": norm, "lr": rate, "seconds": time.perf_counter() - began}

    def score(self, sequences: Sequence[tuple[list[int], list[int], float]]) -> list[list[float]]:
        """Log-probs of completion tokens of (prompt_ids, completion_ids, temperature) triples, one list each.

        Equal prompts are computed once. Raises InputError for an empty prompt or a temperature that is not above 0.
        """
        for row, (prompt, _, temperature) in enumerate(sequences):
            check_sequence(f"sequence {row}", prompt, temperature)
        temperatures = torch.tensor([s[2] for s in sequences], dtype=torch.float32, device=self.device)
        prompts, completions = [s[0] for s in sequences], [s[1] for s in sequences]
        rows = list(range(len(sequences)))
        groups = [tuple(prompt) for prompt in prompts]
        return [
            part.tolist() for part in self.logprob_table(self.model, prompts, completions, groups, temperatures, rows)
        ]

    def micro_batches(
        self,
        prompts: list[list[int]],
        completions: list[list[int]],
        groups: Sequence[Any],
        rows: list[int],
        budget: int | None = None,
    ) -> Iterator[MicroBatch | None]:
        """This rank's packed micro-batches of some rows, at most `budget` tokens each (None: what suits the device); a
        None among them takes part with nothing.
        """
        budget = budget or MICRO_TOKENS.get(self.device.type, MICRO_TOKENS["cuda"])
        chosen = [[prompts[row] for row in rows], [completions[row] for row in rows], [groups[row] for row in rows]]
        for places in self.deal(*chosen, budget) if rows else ():
            yield pack(prompts, completions, groups, [rows[place] for place in places], self.device) if places else None

    def idle(self, model: nn.Module) -> Tensor:
        """Runs one token through the model, for a rank without work; the sum of its outputs times zero."""
        micro = pack([[0]], [[0]], [0], [0], self.device)
        logp, entropy = self.logprobs(model, micro, torch.ones(1, device=self.device))
        return 0.0 * (logp.sum() + entropy.sum())

    @torch.no_grad()
    def frozen(self, model: nn.Module, micro: MicroBatch | None, temperatures: Tensor) -> list[Tensor]:
        """Log-probs of each sequence of a micro-batch, without gradients; none for an idle one."""
        if micro is None:
            self.idle(model)
            return []
        return list(self.logprobs(model, micro, temperatures)[0].split(micro.lengths))

    def logprob_table(
        self,
        model: nn.Module,
        prompts: list[list[int]],
        completions: list[list[int]],
        groups: Sequence[Any],
        temperatures: Tensor,
        rows: list[int],
        budget: int | None = None,
    ) -> list[Tensor]:
        """Log-probs per sequence under a model, on every rank; zeros for sequences that are not among `rows`."""
        lengths = [len(ids) for ids in completions]
        flat = torch.zeros(sum(lengths), device=self.device)
        table = list(flat.split(lengths))
        for micro in self.micro_batches(prompts, completions, groups, rows, budget):
            parts = self.frozen(model, micro, temperatures)
            for row, part in zip(micro.sequences if micro else (), parts, strict=True):
                table[row].copy_(part)
        return list(self.total(flat).split(lengths))
