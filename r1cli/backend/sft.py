"""One update of supervised fine-tuning, and the loss on examples that are not trained on.

It puts packing and a trainer (trainer.py) together, the same over one process or many, as grpo.py does. Where examples
come from (examples.py), their order and when to stop (finetuning.py) is not its business.
"""

import dataclasses
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from r1cli.algorithms.sft_settings import SftSettings
from r1cli.backend.packing import MicroBatch
from r1cli.backend.teaching import Teaching, measure
from r1cli.backend.trainer import Trainer
from r1cli.errors import InputError


class Example(NamedTuple):
    """Token ids, cut into what comes before the first trained token and the rest; which tokens of the rest are trained.

    `trained` [len(completion)] is None when all are. Examples with the same `group` have the same prompt, which is then
    computed once.
    """

    prompt: list[int]
    completion: list[int]
    trained: list[bool] | None
    group: Hashable

    @property
    def labels(self) -> int:
        """How many tokens are trained."""
        return len(self.completion) if self.trained is None else sum(self.trained)


def sft_step(
    trainer: Trainer,
    examples: Sequence[Example],
    settings: SftSettings,
    *,
    step: int,
    teaching: Teaching | None = None,
    teacher: nn.Module | None = None,
    told: Sequence[Sequence[float]] | None = None,
    on_update: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Updates the weights once on a batch of examples; returns the metrics.

    The loss is the mean of -log p over all trained tokens of the batch (`normalize` "token"), or the mean over examples
    of their means ("sequence"), whatever the micro-batches and ranks; `loss` in the metrics is the token mean in both
    cases. With a teacher the loss of a token is what `teaching` says, in the metrics also under that name. `step`
    counts the updates of this training before this one and fixes the learning rate; `settings` come from
    SftSettings.over. `on_update` is called right before the update and may raise to cancel.

    Raises InputError for a batch without a trained token, R1Error, changing nothing, for a loss or gradient that is not
    finite. DeepSeek-R1, supplement B.4.2; samples do not see each other, as in DeepSeek-V3, section 5.1.
    """
    counts = torch.tensor([example.labels for example in examples], dtype=torch.float32)
    if not counts.numel() or not counts.all():
        raise InputError("an example has no trained token; expected at least one in each")
    weights = 1 / (counts * len(examples)) if settings.normalize == "sequence" else (1 / counts.sum()).expand_as(counts)
    weights = weights.to(trainer.device)
    began = time.perf_counter()
    sums = torch.zeros(2, device=trainer.device, dtype=torch.float64)
    losses, temperatures = measure(trainer, teaching, teacher, told), torch.ones(len(examples), device=trainer.device)
    try:
        for micro in _micro_batches(trainer, examples, settings.micro_tokens):
            measured = losses(micro, temperatures)
            if measured is None:
                trainer.backward(trainer.idle(trainer.model))
                continue
            loss, entropy = measured
            trainer.backward((loss * weights[micro.sequences][micro.rows]).sum())
            sums += torch.stack((loss.detach().double().sum(), entropy.detach().double().sum()))
        tokens = int(counts.sum())
        loss, entropy = (trainer.total(sums) / tokens).tolist()
        gradient = time.perf_counter() - began
        applied = trainer.apply({"loss": loss}, settings, step=step, on_update=on_update)
    finally:
        trainer.clear()
    return {
        "loss": loss,
        **({} if teaching is None else {teaching.metric: loss}),
        "entropy": entropy,
        "tokens": sum(len(example.prompt) + len(example.completion) for example in examples),
        "labelled_tokens": tokens,
        "samples": len(examples),
        "lr": applied["lr"],
        "grad_norm": applied["grad_norm"],
        "seconds": {"gradient": gradient, "optimizer": applied["seconds"]},
    }


@torch.no_grad()
def sft_sums(trainer: Trainer, examples: Sequence[Example], settings: SftSettings) -> tuple[float, int]:
    """Sum of -log p over the trained tokens of examples under the policy as it is, and their number."""
    sums = torch.zeros(2, device=trainer.device, dtype=torch.float64)
    for micro in _micro_batches(trainer, examples, settings.micro_tokens):
        if micro is None:
            trainer.idle(trainer.model)
            continue
        logp, _ = trainer.logprobs(trainer.model, micro, torch.ones(len(examples), device=trainer.device))
        sums += torch.stack((-logp.double().sum(), sums.new_tensor(len(logp))))
    total, tokens = trainer.total(sums).tolist()
    return total, int(tokens)


def _micro_batches(trainer: Trainer, examples: Sequence[Example], budget: int) -> Any:
    prompts, completions = [example.prompt for example in examples], [example.completion for example in examples]
    groups, rows = [example.group for example in examples], list(range(len(examples)))
    for micro in trainer.micro_batches(prompts, completions, groups, rows, budget):
        yield micro if micro is None else _narrowed(micro, [examples[row].trained for row in micro.sequences])


def _narrowed(micro: MicroBatch, trained: list[list[bool] | None]) -> MicroBatch:
    """The micro-batch with only its trained tokens as targets: the output projection is not paid for the others."""
    if all(mask is None for mask in trained):
        return micro
    kept = [[True] * length if mask is None else mask for mask, length in zip(trained, micro.lengths, strict=True)]
    index = torch.tensor([place for mask in kept for place in mask]).nonzero()[:, 0].to(micro.targets.device)
    return dataclasses.replace(
        micro,
        predictors=micro.predictors[index],
        targets=micro.targets[index],
        rows=micro.rows[index],
        lengths=[sum(mask) for mask in kept],
    )
