"""Tokens a second, FLOPs utilisation and peak memory of one GRPO update on a GPU, with random weights; JSON on stdout.

bf16 autocast over fp32 weights, gradient checkpointing on, AdamW included. Groups share their prompt; every completion
has the stated length. A token is one of prompt or completion, a shared prompt counted once a group.

    python tests/bench/gpu_update.py --shapes qwen3-0.6b --lengths 2048 16384
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from gpu_models import SHAPES, describe, find_device, training_flops, write_model

from r1cli.algorithms.settings import GrpoSettings
from r1cli.backend.batches import Rollout
from r1cli.backend.checkpoint import load_model
from r1cli.backend.grpo import grpo_step
from r1cli.backend.trainer_torch import TorchTrainer


def make_rollouts(vocabulary: int, *, groups: int, size: int, prompt: int, length: int) -> list[Rollout]:
    """Groups of random tokens with mixed rewards, so that every one of them has a gradient."""
    draw = random.Random(0)
    rollouts = []
    for group in range(groups):
        asked = [draw.randrange(vocabulary) for _ in range(prompt)]
        for member in range(size):
            ids = [draw.randrange(vocabulary) for _ in range(length)]
            rollouts.append(Rollout(asked, ids, [], float(member % 2), {}, group, "stop", 1.0, length))
    return rollouts


def measure(folder: Path, device: torch.device, length: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians of a case after one update that is not counted."""
    policy = load_model(folder, dtype=torch.float32, device=device)
    policy.checkpoint_layers = True
    reference = None
    if arguments.kl:
        reference = load_model(folder, dtype=torch.bfloat16, device=device).requires_grad_(False)
    trainer = TorchTrainer(policy, device=device)
    sizes = {"groups": arguments.questions, "size": arguments.group, "prompt": arguments.prompt, "length": length}
    rollouts = make_rollouts(policy.config.vocab_size, **sizes)
    settings = GrpoSettings(kl=arguments.kl, micro_tokens=max(arguments.micro_tokens, arguments.prompt + length))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for step in range(arguments.repeats + 1):
        began = time.perf_counter()
        grpo_step(trainer, rollouts, settings, reference=reference, stale=False, step=step)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds[1:])
    samples = arguments.questions * arguments.group
    tokens = arguments.questions * arguments.prompt + samples * length
    flops = samples * training_flops(policy.config, arguments.prompt, length)
    peak = describe(device)["peak_tflops"]
    return {
        "tokens_per_second": tokens / median,
        "completion_tokens_per_second": samples * length / median,
        "seconds": median,
        "mfu": flops / median / (peak * 1e12) if peak else None,
        "peak_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["qwen3-0.6b", "qwen2.5-0.5b", "qwen2.5-1.5b"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[2048, 16384], help="completion tokens")
    parser.add_argument("--questions", type=int, default=2)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--kl", type=float, default=0.001)
    parser.add_argument("--micro-tokens", type=int, default=16384)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    device = find_device(arguments.device)
    report: dict[str, Any] = {**describe(device), "settings": vars(arguments), "cases": {}}
    for shape in arguments.shapes:
        with tempfile.TemporaryDirectory() as folder:
            write_model(Path(folder), shape)
            for length in arguments.lengths:
                case = measure(Path(folder), device, length, arguments)
                report["cases"][f"{shape}/{length}"] = case
                used = "" if case["mfu"] is None else f", MFU {case['mfu']:.1%}, peak {case['peak_gib']:.1f} GiB"
                print(f"{shape}, {length} tokens: {case['tokens_per_second']:.0f} tokens/s{used}", file=sys.stderr)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
