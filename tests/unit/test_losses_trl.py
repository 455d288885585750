"""The same numbers as TRL's GRPOTrainer on the same tensors.

The formulas are those of trl 1.16.0, trl/trainer/grpo_trainer.py (_compute_loss, get_off_policy_mask, and the
importance sampling part of _generate_and_score_completions), copied for padded [B, T] tensors and one process without
accumulation.
"""

import pytest
import torch

from r1cli.algorithms.losses import grpo_loss
from r1cli.algorithms.reductions import token_weights
from r1cli.algorithms.settings import GrpoSettings

LENGTHS = torch.tensor([3, 6, 1, 4])
MASK = (torch.arange(6) < LENGTHS[:, None]).double()
ADVANTAGES = torch.tensor([0.9, -1.3, 0.4, -0.6], dtype=torch.float64)
MAX_LENGTH = 8


def trl_importance(old, sampling, mode, low, high):
    """vllm_importance_sampling_ratio: [B, T], or [B, 1] for the sequence modes."""
    difference = (old - sampling) * MASK
    if mode in ("sequence_mask", "sequence_truncate"):
        difference = difference.sum(dim=-1, keepdim=True)
    ratio = torch.exp(difference)
    if mode in ("sequence_truncate", "token_truncate"):
        return torch.clamp(ratio, min=low, max=high)
    return ratio.masked_fill((ratio < low) | (ratio > high), value=0.0)


def trl_loss(logps, old, ref, sampling, o):
    """_compute_loss; `o` holds TRL's own option names."""
    advantages = ADVANTAGES.unsqueeze(1)
    log_ratio = logps - old
    if o.get("importance_sampling_level", "token") == "token":
        log_weights = log_ratio
    else:
        log_weights = ((log_ratio * MASK).sum(-1) / MASK.sum(-1).clamp(min=1.0)).unsqueeze(-1)
    coef_1 = torch.exp(log_weights)
    beta = o.get("beta", 0.0)
    kl = torch.exp(ref - logps) - (ref - logps) - 1
    if o.get("use_bias_correction_kl"):
        kl = kl * coef_1
    if o["loss_type"] == "cispo":
        loss = -torch.clamp(coef_1, max=o["epsilon_high"]).detach() * advantages * logps
    else:
        coef_2 = torch.clamp(coef_1, 1 - o["epsilon_low"], 1 + o["epsilon_high"])
        if "delta" in o:
            coef_1 = torch.clamp(coef_1, max=o["delta"])
        loss = -torch.min(coef_1 * advantages, coef_2 * advantages)
    if "off_policy_mask_threshold" in o:
        mean_gap = ((sampling - logps.detach()) * MASK).sum(dim=1, keepdim=True) / MASK.sum(dim=1, keepdim=True)
        loss = loss * ((advantages >= 0) | (mean_gap <= o["off_policy_mask_threshold"])).double()
    if "mode" in o:
        loss = loss * trl_importance(old, sampling, o["mode"], o.get("clip_min", 0.0), o["clip_max"])
    if beta != 0.0:
        loss = loss + beta * kl
    if o["loss_type"] == "grpo":
        return ((loss * MASK).sum(-1) / MASK.sum(-1).clamp(min=1.0)).mean()
    if o["loss_type"] == "bnpo":
        return (loss * MASK).sum() / MASK.sum().clamp(min=1.0)
    if o["loss_type"] == "dr_grpo":
        return (loss * MASK).sum() / (loss.size(0) * MAX_LENGTH)
    return (loss * MASK).sum() / MASK.sum()  # dapo, cispo: num_items_in_batch


CLIP, OURS = {"epsilon_low": 0.2, "epsilon_high": 0.28}, {"clip_low": 0.2, "clip_high": 0.28}
CASES = [
    ({"loss_type": "grpo", "beta": 0.04, **CLIP}, {"kl": 0.04, **OURS}),
    ({"loss_type": "bnpo", "beta": 0.04, **CLIP}, {"kl": 0.04, "normalize": "token", **OURS}),
    ({"loss_type": "dr_grpo", **CLIP}, {"normalize": "constant", **OURS}),
    ({"loss_type": "dapo", **CLIP}, {"normalize": "token", **OURS}),
    ({"loss_type": "cispo", "epsilon_high": 1.3}, {"loss": "cispo", "normalize": "token", "clip_high": 0.3}),
    (
        {"loss_type": "grpo", "beta": 0.1, "use_bias_correction_kl": True, **CLIP},
        {"kl": 0.1, "kl_unbiased": True, **OURS},
    ),
    ({"loss_type": "dapo", "delta": 1.4, **CLIP}, {"normalize": "token", "dual_clip": 1.4, **OURS}),
    ({"loss_type": "grpo", "off_policy_mask_threshold": 0.1, **CLIP}, {"offpolicy_mask": 0.1, **OURS}),
    (
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_low": 0.03, "epsilon_high": 0.04},
        {"loss": "gspo", "clip_low": 0.03, "clip_high": 0.04},
    ),
    *(
        (
            {"loss_type": kind, "beta": 0.04, "mode": mode.replace("-", "_"), "clip_min": 0.5, "clip_max": 1.6, **CLIP},
            {
                "normalize": normalize,
                "kl": 0.04,
                "correction": mode,
                "correction_min": 0.5,
                "correction_max": 1.6,
                **OURS,
            },
        )
        for mode in ("token-truncate", "token-mask", "sequence-truncate", "sequence-mask")
        for kind, normalize in (("grpo", "sequence"), ("dapo", "token"), ("dr_grpo", "constant"))
    ),
]


@pytest.mark.parametrize(("theirs", "ours"), CASES, ids=lambda value: value.get("loss_type"))
def test_same_loss_and_gradient(theirs, ours):
    """Value and gradient agree at 1e-9 in float64, for several draws."""
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(4, 4, 6, generator=generator, dtype=torch.float64)
        old = noise[0] - 2
        logps, ref, sampling = old + 0.4 * noise[1], old + 0.4 * noise[2], old + 0.4 * noise[3]
        logps.requires_grad_()
        want = trl_loss(logps, old, ref, sampling, theirs)
        (wanted,) = torch.autograd.grad(want, logps)
        settings = GrpoSettings(**{"kl": 0.0} | ours)
        lengths = LENGTHS.double()
        flat = MASK.bool()
        loss, _ = grpo_loss(
            logps[flat],
            old=old[flat],
            sampler=sampling[flat],
            reference=ref[flat],
            entropy=None,
            advantages=ADVANTAGES,
            rows=torch.arange(4).repeat_interleave(LENGTHS),
            weights=token_weights(lengths, lengths > 0, normalize=settings.normalize, constant=MAX_LENGTH),
            settings=settings,
        )
        (got,) = torch.autograd.grad(loss, logps)
        torch.testing.assert_close(loss, want, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)
