"""CPU seconds of one GRPO update, ours against a plain padded Hugging Face update, on the same rollouts and weights.

The two run in turn, so that other load falls on both; printed are the medians, as JSON. The Hugging Face side is what
one writes first: every row is prompt + completion, padded on the right, full logits, torch.optim.AdamW; `--hf-rows` is
its micro-batch.

    OMP_NUM_THREADS=1 python tests/bench/trainer.py
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable

import torch
import transformers

from r1cli.algorithms.advantages import advantages
from r1cli.algorithms.settings import GrpoSettings
from r1cli.backend.batches import Rollout
from r1cli.backend.grpo import grpo_step
from r1cli.backend.model import ModelConfig, Transformer
from r1cli.backend.trainer_torch import TorchTrainer

SHAPES = {
    "tiny": {"hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 3, "num_attention_heads": 3},
    "small": {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6},
}


def make_rollouts(args: argparse.Namespace, *, ragged: bool) -> list[Rollout]:
    """Groups of random tokens; ragged completions are uniform between a sixteenth of the length and all of it."""
    draw = random.Random(args.seed)
    rollouts = []
    for group in range(args.groups):
        prompt = [draw.randrange(args.vocabulary) for _ in range(args.prompt)]
        for _ in range(args.size):
            length = draw.randint(max(1, args.length // 16), args.length) if ragged else args.length
            ids = [draw.randrange(args.vocabulary) for _ in range(length)]
            reward = float(draw.random() < 0.5)
            rollouts.append(Rollout(prompt, ids, [], reward, {}, group, "stop", 1.0, args.length, False))
    return rollouts


class PaddedTrainer:
    """The plain update: on-policy GRPO without KL, sequence means, gradient clipping, AdamW."""

    def __init__(self, model: torch.nn.Module, rows: int):
        self.model, self.rows = model, rows
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0)

    def step(self, rollouts: list[Rollout]) -> float:
        """One update; returns the gradient norm."""
        rewards = torch.tensor([r.reward for r in rollouts])
        groups = torch.tensor([r.group for r in rollouts])
        scores = advantages(rewards, groups, scale="group", baseline="mean")
        self.optimizer.zero_grad()
        for start in range(0, len(rollouts), self.rows):
            part = rollouts[start : start + self.rows]
            width = max(len(r.prompt_ids) + len(r.completion_ids) for r in part)
            ids = torch.zeros(len(part), width, dtype=torch.long)
            attended, answered = torch.zeros_like(ids), torch.zeros(len(part), width - 1)
            for row, r in enumerate(part):
                whole = torch.tensor(r.prompt_ids + r.completion_ids)
                ids[row, : len(whole)], attended[row, : len(whole)] = whole, 1
                answered[row, len(r.prompt_ids) - 1 : len(whole) - 1] = 1
            logits = self.model(ids, attention_mask=attended, use_cache=False).logits[:, :-1]
            logp = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
            ratio = (logp - logp.detach()).exp()
            means = (ratio * answered).sum(1) / answered.sum(1)
            (-(means * scores[start : start + self.rows]).sum() / len(rollouts)).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0).item()
        self.optimizer.step()
        return norm


def timed(work: Callable[[], float]) -> tuple[float, float]:
    """CPU seconds of the call and what it returned."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def compare(args: argparse.Namespace, *, ragged: bool) -> dict[str, float]:
    """Medians over the repeats, after one round that is not counted; also how far the first gradient norms are
    apart.
    """
    torch.manual_seed(args.seed)
    heads = SHAPES[args.shape]["num_attention_heads"]
    config = transformers.Qwen2Config(
        vocab_size=args.vocabulary, num_key_value_heads=heads, tie_word_embeddings=True, **SHAPES[args.shape]
    )
    theirs = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").float()
    ours = Transformer(ModelConfig.from_dict(config.to_dict() | {"architectures": ["Qwen2ForCausalLM"]}))
    ours.load_state_dict({name: p.detach().clone() for name, p in theirs.named_parameters()})
    rollouts = make_rollouts(args, ragged=ragged)
    padded, packed = PaddedTrainer(theirs, args.hf_rows), TorchTrainer(ours)
    settings = GrpoSettings(kl=0.0, lr=1e-4, micro_tokens=args.micro_tokens)

    def update() -> float:
        return grpo_step(packed, rollouts, settings, reference=None, stale=False, step=0)[0]["grad_norm"]

    times: dict[str, list[float]] = {"hf": [], "r1": []}
    norms: dict[str, list[float]] = {"hf": [], "r1": []}
    for _ in range(args.repeats + 1):
        for name, work in (("hf", lambda: padded.step(rollouts)), ("r1", update)):
            seconds, norm = timed(work)
            times[name].append(seconds)
            norms[name].append(norm)
    median = {name: statistics.median(values[1:]) for name, values in times.items()}
    return {
        "tokens": sum(len(r.completion_ids) for r in rollouts),
        "hf_cpu_s": round(median["hf"], 4),
        "r1_cpu_s": round(median["r1"], 4),
        "ratio": round(median["hf"] / median["r1"], 2),
        "grad_norm_difference": abs(norms["hf"][0] / norms["r1"][0] - 1),
    }


def main() -> None:
    """Runs both cases and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="tiny")
    parser.add_argument("--vocabulary", type=int, default=149)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=15)
    parser.add_argument("--length", type=int, default=48)
    parser.add_argument("--micro-tokens", type=int, default=16384)
    parser.add_argument("--hf-rows", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    result = {"settings": vars(args), "fixed": compare(args, ragged=False), "ragged": compare(args, ragged=True)}
    json.dump(result, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
