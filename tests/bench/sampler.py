"""Times our sampler against Hugging Face's generate on random models of 3M and 113M parameters; JSON on stdout.

Both sides sample the same groups at temperature 1 in this process, in turn, at one thread unless told otherwise; what
counts is process CPU time, which other work on the machine disturbs less than wall time. `fixed` forbids the end token;
`ragged` makes every token an end with a chance of about 1 in 64. Ours starts with an empty sampler each time and also
returns log-probabilities. `peak_mb` is the memory that a batch takes above what stood before it (Linux only).

    OMP_NUM_THREADS=1 python tests/bench/sampler.py
"""

import argparse
import ctypes
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from checkpoints import SIZES
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from r1cli.backend.model import ModelConfig, Transformer
from r1cli.backend.sampler_torch import Group, SamplingParams, TorchSampler

# Questions of a batch, small enough at the larger size for a run of some minutes.
QUESTIONS = {"3M": 16, "113M": 4}
SIDES = ("ours", "hugging_face")


class EndTokens:
    """What the sampler wants of a tokenizer when no stop strings are used."""

    def __init__(self, *ids: int):
        self.end_tokens = ids


def build(size: str) -> tuple[Qwen2ForCausalLM, Transformer]:
    """The same random weights as a Hugging Face model and as ours."""
    torch.manual_seed(0)
    config = Qwen2Config(
        **SIZES[size],
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
        architectures=["Qwen2ForCausalLM"],
    )
    theirs = Qwen2ForCausalLM(config).eval()
    ours = Transformer(ModelConfig.from_dict(config.to_dict()))
    ours.load_state_dict({name: value for name, value in theirs.state_dict().items() if name != "lm_head.weight"})
    return theirs, ours


def run_ours(
    model: Transformer, prompts: list[list[int]], ends: list[int], arguments: argparse.Namespace, seed: int
) -> int:
    """One batch by our sampler; returns the number of tokens it made."""
    sampler = TorchSampler(model, EndTokens(*ends), slots=arguments.slots)
    params = SamplingParams(max_tokens=arguments.tokens)
    for number, prompt in enumerate(prompts):
        seeds = [(seed * 1000 + number) * 1000 + place for place in range(arguments.group)]
        sampler.add(Group(number, prompt, seeds, params))
    made = 0
    while sampler.busy:
        made += sum(len(sample.ids) for _, samples in sampler.step() for sample in samples)
    return made


def run_theirs(
    model: Qwen2ForCausalLM, prompts: list[list[int]], ends: list[int], arguments: argparse.Namespace, seed: int
) -> int:
    """One batch by generate; returns the number of tokens up to each sample's end."""
    torch.manual_seed(seed)
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=arguments.tokens,
        pad_token_id=0,
        num_return_sequences=arguments.group,
        eos_token_id=ends or None,
    )
    out = model.generate(ids, attention_mask=mask, generation_config=settings)[:, longest:]
    # The pad token is never an end here, and what follows the first end is not a sample's own.
    ended = torch.isin(out, torch.tensor(ends, dtype=torch.int64)).cumsum(1)
    return int(((ended == 0).sum(1) + (ended[:, -1] > 0)).sum())


def measure(work: Callable[[], int]) -> dict[str, float | None]:
    """Tokens a CPU second, CPU and wall seconds, and the peak of memory above the start."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator has kept would hide what the batch takes
    before = memory("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the kernel forgets the highest mark of before
    except OSError:
        before = None
    cpu, wall = time.process_time(), time.perf_counter()
    made = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = None if before is None else round(memory("VmHWM") - before)
    return {"tokens_per_cpu_second": round(made / cpu), "cpu_s": cpu, "wall_s": wall, "peak_mb": peak}


def memory(name: str) -> float | None:
    """A value of this process's memory in MB as the kernel counts it; None where it doesn't say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":")), None)


def median(values: list[float | None]) -> float | None:
    """The median; None where something could not be measured."""
    return None if None in values else round(statistics.median(values), 2)


def compare(size: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both sides at one model size, fixed and ragged: medians, and the ratio of their tokens a CPU second."""
    theirs, ours = build(size)
    vocabulary, count = SIZES[size]["vocab_size"], arguments.questions or QUESTIONS[size]
    lengths = [33 + number % 6 for number in range(count)]
    prompts = [
        [3 + (37 * number + 11 * place) % 300 for place in range(length)] for number, length in enumerate(lengths)
    ]
    report: dict[str, Any] = {"parameters": sum(p.numel() for p in ours.parameters()), "questions": count}
    for case, ends in (("fixed", []), ("ragged", list(range(50, vocabulary, 64)))):
        found: dict[str, list[dict[str, float | None]]] = {side: [] for side in SIDES}
        for repeat in range(arguments.repeats + 1):
            for side, run, model in zip(SIDES, (run_ours, run_theirs), (ours, theirs), strict=True):
                result = measure(partial(run, model, prompts, ends, arguments, repeat))
                if repeat:  # the first round warms up
                    found[side].append(result)
        medians = {side: {key: median([r[key] for r in runs]) for key in runs[0]} for side, runs in found.items()}
        ratio = medians["ours"]["tokens_per_cpu_second"] / medians["hugging_face"]["tokens_per_cpu_second"]
        speeds = {side: [r["tokens_per_cpu_second"] for r in runs] for side, runs in found.items()}
        report[case] = {"ratio": round(ratio, 2), **medians, "all": speeds}
    return report


def main() -> None:
    """Runs the sizes one after another and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--questions", type=int, help=f"prompts of a batch (default {QUESTIONS})")
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128, help="most tokens of a completion")
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sizes = {size: compare(size, arguments) for size in arguments.sizes}
    print(json.dumps({"settings": vars(arguments), **sizes}, indent=1))


if __name__ == "__main__":
    main()
