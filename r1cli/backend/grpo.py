"""One GRPO iteration: from judged rollouts to optimizer updates of a trainer's policy.

It puts packing, the maths of r1cli.algorithms and a trainer (trainer.py) together, the same over one process or many.
It does not sample, judge, or decide when to save.
"""

import dataclasses
import time
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from r1cli.algorithms.losses import grpo_loss
from r1cli.algorithms.reductions import token_weights
from r1cli.algorithms.settings import GrpoSettings
from r1cli.algorithms.stats import merge, summarize
from r1cli.backend.batches import Batch, Rollout, describe, prepare, split
from r1cli.backend.packing import MicroBatch
from r1cli.backend.trainer import Trainer
from r1cli.errors import InputError

RATIOS = ("clip_fraction", "ratio_mean", "ratio_max", "ratio_deviation")
UNMEASURED = dict.fromkeys(("kl", "entropy", *RATIOS, "logprob_gap_mean", "logprob_gap_max"))


def grpo_step(
    trainer: Trainer,
    rollouts: list[Rollout],
    settings: GrpoSettings,
    *,
    reference: nn.Module | None,
    stale: bool,
    step: int,
    on_update: Callable[[], None] | None = None,
) -> list[dict[str, Any]]:
    """Updates the weights on a batch of rollouts, minibatches x epochs times; returns one metrics dict per update.

    `step` is the number of updates done before, `stale` says that an older policy sampled the rollouts,
    `on_update` is called right before the first update is applied and may raise to cancel. A batch without any
    signal (equal rewards, no KL, no entropy bonus) still makes its update with a gradient of exactly zero: Adam's
    moments decay and momentum moves the weights on, as in every common trainer, so that the optimizer's step count
    stays the run's. `seconds` in the metrics are wall time: before (old and reference log-probs of a batch with
    several updates), gradient, optimizer.

    Raises InputError for rollouts it cannot train on, and R1Error when a loss or gradient is not finite, before
    that update changes anything (those before it, of the same batch, stand). DeepSeek-R1, section 2.2; old policy,
    minibatches and inner epochs as in DeepSeekMath, algorithm 1.
    """
    batch = prepare(rollouts, settings, trainer.device)
    updates = list(split(len(rollouts), settings, step))
    if settings.kl and reference is None:
        raise InputError(f"kl {settings.kl} needs a reference model, got none; give one or set kl to 0")
    # A correction is about what the trainer itself says of old samples: against the sampler it would always be 1.
    uncorrected = settings.old_logprobs == "auto" and settings.correction == "none"
    sampled = settings.old_logprobs == "sampler" or (uncorrected and stale)
    if batch.sampler is None and (sampled or settings.correction != "none"):
        why = "stale rollouts or old_logprobs 'sampler'" if sampled else f"correction {settings.correction!r}"
        raise InputError(
            f"the rollouts carry no log-probs of their sampler, or truncated ones (top-p < 1); expected for {why}: "
            "sample them again"
        )
    if sampled:
        # Said in the settings too, since the loss then measures the gap against the current pass.
        settings = dataclasses.replace(settings, old_logprobs="sampler")
        batch.old = batch.sampler
    began = time.perf_counter()
    if len(updates) > 1:
        # Later updates meet moved weights: pin what the policy said before the first one, and pay for the
        # reference once.
        if batch.old is None:
            batch.old = _table(trainer, trainer.model, batch, settings.micro_tokens)
        if settings.kl:
            batch.reference = _table(trainer, reference, batch, settings.micro_tokens)
    tables = time.perf_counter() - began
    metrics = []
    try:
        for number, members in enumerate(updates):
            began = time.perf_counter()
            stats = _gradient(trainer, batch, members, settings, reference)
            seconds = {
                "before": tables if number == 0 else 0.0,
                "gradient": time.perf_counter() - began,
            }
            begin = on_update if number == 0 else None
            own = describe([rollouts[row] for row in members])
            applied = trainer.apply(stats, settings, step=step + number, on_update=begin)
            seconds["optimizer"] = applied.pop("seconds")
            report = {"step": step + number + 1, **stats, **own, "zero_variance": batch.zero_variance}
            metrics.append({**report, **applied, "seconds": seconds})
    finally:
        trainer.clear()
    return metrics


def _table(trainer: Trainer, model: nn.Module, batch: Batch, budget: int) -> list[Tensor]:
    rows = batch.keep.nonzero().flatten().tolist()
    return trainer.logprob_table(
        model, batch.prompts, batch.completions, batch.groups, batch.temperatures, rows, budget
    )


def _gradient(
    trainer: Trainer, batch: Batch, members: list[int], settings: GrpoSettings, reference: nn.Module | None
) -> dict[str, float | int | None]:
    """Adds the minibatch's gradient to the parameters; returns the metrics of its trained tokens."""
    weights = torch.zeros(len(batch.rollouts))
    weights[members] = token_weights(
        batch.lengths[members], batch.keep[members], normalize=settings.normalize, constant=batch.constant
    )
    regularised = settings.kl != 0 or settings.entropy != 0
    trained = [row for row, weight in zip(members, weights[members].tolist(), strict=True) if weight > 0]
    # Without KL and entropy a zero advantage gives no gradient: such rows run forward only, for the metrics.
    signal = (batch.advantages != 0).tolist()
    active = [row for row in trained if regularised or signal[row]]
    silent = [row for row in trained if not (regularised or signal[row])]
    weights, factors = weights.to(trainer.device), batch.advantages.to(trainer.device)
    total: dict[str, Tensor] = {}
    for learn, rows in ((True, active), (False, silent)):
        for micro in trainer.micro_batches(batch.prompts, batch.completions, batch.groups, rows, settings.micro_tokens):
            pinned = join(batch.reference, micro)
            if settings.kl and batch.reference is None:
                parts = trainer.frozen(reference, micro, batch.temperatures)
                pinned = torch.cat(parts) if parts else None
            with torch.set_grad_enabled(learn):
                if micro is None:
                    loss = trainer.idle(trainer.model)
                else:
                    logp, entropy = trainer.logprobs(trainer.model, micro, batch.temperatures)
                    loss, stats = grpo_loss(
                        logp,
                        old=logp.detach() if batch.old is None else join(batch.old, micro),
                        sampler=join(batch.sampler, micro),
                        reference=pinned,
                        entropy=entropy,
                        advantages=factors[micro.sequences],
                        rows=micro.rows,
                        weights=weights[micro.sequences],
                        settings=settings,
                    )
                    total = merge(total, stats)
                if learn:
                    trainer.backward(loss)
    total = reduce(merge, trainer.gather(total), {})
    return UNMEASURED | (summarize(total) if total else {"loss": 0.0, "weights_sum": 0.0, "tokens": 0})


def join(table: list[Tensor] | None, micro: MicroBatch | None) -> Tensor | None:
    """Per-token values [M] of a micro-batch out of a table with one tensor per rollout; None when there is no table."""
    return None if table is None or micro is None else torch.cat([table[row] for row in micro.sequences])
