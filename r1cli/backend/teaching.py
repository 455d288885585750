"""A teacher beside the student in one process: how its distribution becomes a loss.

Where the tokens come from, given completions or the student's own samples, is not known here.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from r1cli.algorithms.distillation import reverse_kl, top_kl
from r1cli.backend.base import is_url
from r1cli.backend.checkpoint import read_config
from r1cli.backend.model import ModelConfig
from r1cli.backend.packing import MicroBatch
from r1cli.backend.tokenizer import Tokenizer
from r1cli.backend.trainer import Trainer
from r1cli.errors import InputError

# Losses [M] of a micro-batch's targets, whose weighted sum is minimised, and entropies [M]; None takes part idly.
Measure = Callable[[MicroBatch | None, Tensor], tuple[Tensor, Tensor] | None]


class Teaching(NamedTuple):
    """A teacher's folder, or its URL and the model's name there; how many of its likeliest tokens are learnt.

    With `top_k` None it is the reverse KL at the tokens as they are.
    """

    teacher: str
    top_k: int | None = None
    model: str | None = None

    @property
    def folder(self) -> Path | None:
        """Where its weights are; None behind a URL."""
        return None if is_url(self.teacher) else Path(self.teacher)

    @property
    def metric(self) -> str:
        """What the loss is, as metrics call it."""
        return "reverse_kl" if self.top_k is None else "forward_kl"


def read_teaching(request: dict[str, Any], tokenizer: Tokenizer, config: ModelConfig) -> Teaching | None:
    """The request's teaching, None for fine-tuning; raises InputError for a teacher that this student can't follow."""
    if request.get("teaching") is None:
        return None
    teaching = Teaching(**request["teaching"])
    folder = teaching.folder
    if folder is None:
        return teaching
    theirs, ours = Tokenizer.load(folder).vocabulary(), tokenizer.vocabulary()
    if theirs != ours:
        differing = sum(theirs.get(token) != number for token, number in ours.items())
        raise InputError(
            f"the teacher {folder} has another tokenizer than the student ({len(theirs)} and {len(ours)} tokens, "
            f"{differing} of the student's differ): its probabilities can't be compared; distil from its rollouts"
        )
    if teaching.top_k is not None and teaching.top_k > min(config.vocab_size, read_config(folder).vocab_size):
        size = min(config.vocab_size, read_config(folder).vocab_size)
        raise InputError(f"--top-k {teaching.top_k} is more than the vocabulary of {size}")
    return teaching


def measure(
    trainer: Trainer, teaching: Teaching | None, teacher: nn.Module | None, told: Sequence[Sequence[float]] | None
) -> Measure:
    """The loss of each target: -log p without a teacher, else what `teaching` says.

    `told` are the teacher's log-probs of each example's tokens where the teacher itself isn't here.
    """

    def fine_tuning(micro: MicroBatch | None, temperatures: Tensor) -> tuple[Tensor, Tensor] | None:
        if micro is None:
            return None
        logp, entropy = trainer.logprobs(trainer.model, micro, temperatures)
        return -logp, entropy

    def on_samples(micro: MicroBatch | None, temperatures: Tensor) -> tuple[Tensor, Tensor] | None:
        parts = trainer.frozen(teacher, micro, temperatures) if told is None else []
        if micro is None:
            return None
        logp, entropy = trainer.logprobs(trainer.model, micro, temperatures)
        theirs = (
            torch.cat(parts) if told is None else logp.new_tensor([x for row in micro.sequences for x in told[row]])
        )
        return reverse_kl(logp, theirs), entropy

    def on_top(micro: MicroBatch | None, temperatures: Tensor) -> tuple[Tensor, Tensor] | None:
        if micro is None:
            return None
        ours, theirs, entropy = trainer.top_logprobs(trainer.model, teacher, micro, teaching.top_k)
        return top_kl(ours, theirs), entropy

    if teaching is None:
        return fine_tuning
    return on_samples if teaching.top_k is None else on_top
