"""Tokens a second of our torch sampler on a GPU against Hugging Face's generate and against vLLM; JSON on stdout.

bf16, random weights, temperature 1; all sides sample the same groups in this process, in turn, and the medians count.
Ours and vLLM return log-probabilities. vLLM is left out where it is not installed, and the JSON says so.

    python tests/bench/gpu_sampler.py --shapes qwen2.5-0.5b
"""

import argparse
import importlib.util
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_models import SHAPES, describe, find_device, write_model
from transformers import AutoModelForCausalLM, GenerationConfig

from r1cli.backend.checkpoint import load_model
from r1cli.backend.sampler_torch import Group, SamplingParams, TorchSampler
from r1cli.backend.sampler_vllm import VllmSampler
from r1cli.backend.tokenizer import Tokenizer


def run_ours(sampler: TorchSampler | VllmSampler, prompts: list[list[int]], tokens: int, group: int, seed: int) -> int:
    """One batch by a sampler of r1; returns the number of tokens it made."""
    for number, prompt in enumerate(prompts):
        seeds = [(seed * 1000 + number) * 1000 + place for place in range(group)]
        sampler.add(Group((number,), prompt, seeds, SamplingParams(max_tokens=tokens)))
    made = 0
    while sampler.busy:
        made += sum(len(sample.ids) for _, samples in sampler.step() for sample in samples)
    return made


def run_theirs(model: Any, prompts: list[list[int]], tokens: int, group: int, seed: int) -> int:
    """One batch by generate; returns the number of tokens."""
    torch.manual_seed(seed)
    ids = torch.tensor(prompts, device=model.device)
    settings = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=tokens, min_new_tokens=tokens,
        num_return_sequences=group, pad_token_id=0, eos_token_id=0,
    )  # fmt: skip
    out = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    return out[:, ids.shape[1] :].numel()


def timed(work: Callable[[], int], device: torch.device) -> float:
    """Tokens a second of one call."""
    began = time.perf_counter()
    made = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return made / (time.perf_counter() - began)


def compare(folder: Path, device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """Median tokens a second of each side, and ours over theirs."""
    tokenizer = Tokenizer.load(folder)
    policy = load_model(folder, dtype=torch.bfloat16, device=device)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
    draw = random.Random(0)
    vocabulary = policy.config.vocab_size
    prompts = [[draw.randrange(1, vocabulary) for _ in range(arguments.prompt)] for _ in range(arguments.questions)]
    sides: dict[str, Callable[[int], int]] = {}
    slots = arguments.questions * arguments.group
    own = {"torch": TorchSampler(policy, tokenizer, slots=slots)}
    if importlib.util.find_spec("vllm") and device.type == "cuda":
        own["vllm"] = VllmSampler(policy, tokenizer, folder, slots=slots, share=0.4, sleep=False)
        own["vllm"].start()
    for name, sampler in own.items():
        sides[name] = partial(run_ours, sampler, prompts, arguments.tokens, arguments.group)
    sides["hugging_face"] = partial(run_theirs, theirs, prompts, arguments.tokens, arguments.group)
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for seed in range(arguments.repeats + 1):
        for name, work in sides.items():
            speed = timed(partial(work, seed), device)
            if seed:  # the first round warms up
                speeds[name].append(speed)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    ratios = {f"torch_over_{name}": medians["torch"] / value for name, value in medians.items() if name != "torch"}
    return {"tokens_per_second": medians, **ratios, "vllm": "vllm" in sides}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["qwen2.5-0.5b", "qwen2.5-1.5b", "qwen3-0.6b"])
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    device = find_device(arguments.device)
    report: dict[str, Any] = {**describe(device), "settings": vars(arguments), "cases": {}}
    for shape in arguments.shapes:
        with tempfile.TemporaryDirectory() as folder:
            write_model(Path(folder), shape)
            case = report["cases"][shape] = compare(Path(folder), device, arguments)
            shown = ", ".join(f"{name} {value:.0f}" for name, value in case["tokens_per_second"].items())
            print(f"{shape}: tokens a second: {shown}", file=sys.stderr)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
