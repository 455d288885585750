"""Independent code that the trainer is held against: Hugging Face models and a naive loss, one sequence at a time, no
padding.
"""

import math
import random

import torch
import transformers

from r1cli.algorithms.settings import GrpoSettings
from r1cli.backend.batches import Rollout
from r1cli.backend.grpo import grpo_step
from r1cli.backend.model import ModelConfig, Transformer
from r1cli.backend.trainer_torch import TorchTrainer

VOCABULARY = 61
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
CONFIGS = {
    "qwen2": (transformers.Qwen2Config, {"tie_word_embeddings": True}),
    "qwen3": (transformers.Qwen3Config, {"tie_word_embeddings": False, "head_dim": 16}),
    "llama": (transformers.LlamaConfig, {"tie_word_embeddings": False}),
}


def make_pair(kind: str = "qwen2", seed: int = 0) -> tuple[torch.nn.Module, Transformer]:
    """A random Hugging Face model and ours with the same weights, both fp32."""
    torch.manual_seed(seed)
    make, extra = CONFIGS[kind]
    config = make(**SHAPE, **extra)
    theirs = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15 + (parameter.ndim == 1))
    described = config.to_dict() | {"architectures": [type(theirs).__name__]}
    ours = Transformer(ModelConfig.from_dict(described))
    weights = theirs.state_dict()
    if described["tie_word_embeddings"]:
        del weights["lm_head.weight"]
    ours.load_state_dict(weights)
    return theirs, ours


def make_rollouts(
    theirs: torch.nn.Module, *, seed: int = 0, groups: int = 3, size: int = 4, noise: float = 0.0, longest: int = 12
) -> list[Rollout]:
    """Ragged groups with random rewards; their sampler log-probs are Hugging Face's plus Gaussian noise."""
    draw = random.Random(seed)
    rollouts = []
    for group in range(groups):
        prompt = [draw.randrange(VOCABULARY) for _ in range(draw.randint(1, 9))]
        for member in range(size):
            completion = [draw.randrange(VOCABULARY) for _ in range(draw.randint(1, longest))]
            reward = float(member % 2) + draw.random()
            finish = draw.choice(["stop", "length"])
            rollout = Rollout(prompt, completion, [], reward, {"accuracy": reward}, group, finish, 0.6, 16, False)
            exact = hf_logprobs(theirs, rollout)[0].tolist()
            rollout.logprobs = [value + noise * draw.gauss(0, 1) for value in exact]
            rollouts.append(rollout)
    return rollouts


def hf_logprobs(theirs: torch.nn.Module, rollout: Rollout) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probs and entropies of a completion's tokens, from one plain forward pass."""
    ids = torch.tensor([rollout.prompt_ids + rollout.completion_ids])
    logits = theirs(ids, use_cache=False).logits[0, len(rollout.prompt_ids) - 1 : -1] / rollout.temperature
    logs = logits.log_softmax(-1)
    return logs.gather(1, torch.tensor(rollout.completion_ids)[:, None])[:, 0], -(logs.exp() * logs).sum(-1)


def naive_loss(
    theirs: torch.nn.Module, reference: torch.nn.Module, rollouts: list[Rollout], settings: GrpoSettings, stale: bool
) -> torch.Tensor:
    """The minibatch loss as the papers print it, sequence by sequence; group-normalised rewards, all rollouts kept."""
    terms = []
    for rollout in rollouts:
        rewards = torch.tensor([r.reward for r in rollouts if r.group == rollout.group])
        advantage = (rollout.reward - rewards.mean()) / (rewards.std() + 1e-4)
        logp, entropy = hf_logprobs(theirs, rollout)
        sampler = torch.tensor(rollout.logprobs)
        old = sampler if stale else logp.detach()
        with torch.no_grad():
            pinned, _ = hf_logprobs(reference, rollout)
        gap = logp - pinned
        ratio = (logp - old).exp()
        if settings.loss == "r1":
            ratio, gap = (logp - old).sum().exp().expand_as(logp), gap.sum().expand_as(logp)
        elif settings.loss == "gspo":
            ratio = (logp - old).mean().exp().expand_as(logp)
        elif settings.loss == "gspo-token":
            ratio = (logp - old).mean().exp().detach() * (logp - logp.detach()).exp()
        clipped = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
        policy = -torch.minimum(ratio * advantage, clipped * advantage)
        if settings.loss == "cispo":
            policy = -clipped.detach() * advantage * logp
        if settings.correction == "token-truncate":
            policy = policy * (old - sampler).exp().clamp(max=settings.correction_max)
        terms.append(policy + settings.kl * ((-gap).exp() + gap - 1) - settings.entropy * entropy)
    if settings.normalize == "sequence":
        return torch.stack([term.mean() for term in terms]).mean()
    if settings.normalize == "token":
        return torch.cat(terms).mean()
    return torch.cat(terms).sum() / (len(terms) * rollouts[0].max_tokens)


class Cancelled(Exception):
    """Raised by gradients() to stop before the update."""


def gradients(
    trainer: TorchTrainer, rollouts: list[Rollout], settings: GrpoSettings, **named
) -> dict[str, torch.Tensor]:
    """The gradient of the first update, before clipping and Adam; the update itself is cancelled."""
    found: dict[str, torch.Tensor] = {}

    def stop() -> None:
        found.update({name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None})
        raise Cancelled

    try:
        grpo_step(trainer, rollouts, settings, **{"reference": None, "stale": False, "step": 0} | named, on_update=stop)
    except Cancelled:
        return found
    raise AssertionError("on_update was not called")


def distance(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Largest difference of any tensor, relative to the largest gradient element of that tensor or a thousandth of
    all.
    """
    scale = max(value.abs().max().item() for value in expected.values())
    assert math.isfinite(scale) and scale > 0
    worst = 0.0
    for name, value in expected.items():
        own = max(value.abs().max().item(), scale / 1000)
        worst = max(worst, (found[name] - value).abs().max().item() / own)
    return worst
