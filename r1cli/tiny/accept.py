"""Judges a tiny base before it ships: `python -m r1cli.tiny.accept DIR`.

Reinforcement learning at temperature 1 can only find the chain of thought if thinking already pays there: forced to
think, the base must be right at least three times as often as when forced to answer at once. Its pass@1 must be low all
the same, or there would be nothing to learn. Writes one JSON object to standard output; exits with 1 when a bound does
not hold. Whether learning then succeeds is not tested here.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from r1cli.backend.checkpoint import load_model
from r1cli.backend.sampler_torch import Group, Sample, SamplingParams, TorchSampler
from r1cli.backend.tokenizer import Tokenizer
from r1cli.prompts.templates import R1_ZERO
from r1cli.records import sample_key
from r1cli.rewards import Options, judge
from r1cli.tiny.corpus import CHINESE, number
from r1cli.tiny.task import draw, problem

LEAST_GAIN = 3.0
MOST_CORRECT = 0.27
FORMAT = (0.04, 0.2)
MAX_TOKENS = 96
STEP = re.compile(f"(?:makes |wait, |得|等等，)([0-9{CHINESE}]+)")
DIGITS = str.maketrans(CHINESE, "0123456789")


def sample_all(
    sampler: TorchSampler, texts: list[str], count: int, params: SamplingParams, seed: int
) -> Iterator[tuple[int, Sample]]:
    """Yields (index of the text, sample) for `count` samples of each text."""
    for index, text in enumerate(texts):
        seeds = [sample_key(seed, 0, 0, str(index), member) for member in range(count)]
        sampler.add(Group(index, sampler.tokenizer.encode(text, True), seeds, params))
    while sampler.busy:
        for group, samples in sampler.step():
            for sample in samples:
                yield group.key, sample


def completion_text(tokenizer: Tokenizer, sample: Sample) -> str:
    """The text of a sample without its end token."""
    ended = sample.ids[-1] in tokenizer.end_tokens
    return tokenizer.decode(sample.ids[:-1] if ended else sample.ids)


def value_reached(mode: str, text: str) -> str:
    """The number that a forced continuation arrives at: the answer itself, or the last step of its first chain."""
    if mode == "direct":
        return text.partition("<")[0]
    steps = STEP.findall(re.split(r"<|\.", text, maxsplit=1)[0])
    return steps[-1].translate(DIGITS) if steps else ""


def forced_accuracy(sampler: TorchSampler, *, questions: int, samples: int, seed: int) -> dict[str, float]:
    """Share right at temperature 1 when the first tokens are given: an answer tag, or a thought begun in en or zh."""
    result = {}
    for mode in ("direct", "en", "zh"):
        texts, sums = [], []
        for index in range(questions):
            digits = draw(seed, index, "test")
            begin = "<answer>" if mode == "direct" else f"<think>Ann {number(digits[0], mode)}"
            texts.append(R1_ZERO.format(prompt=problem(seed, index, "test")["prompt"]) + begin)
            sums.append(str(sum(digits)))
        drawn = sample_all(sampler, texts, samples, SamplingParams(1.0, 1.0, MAX_TOKENS), seed)
        right = sum(value_reached(mode, completion_text(sampler.tokenizer, s)) == sums[index] for index, s in drawn)
        result[mode] = right / (questions * samples)
    return result


def evaluate(
    sampler: TorchSampler, *, questions: int, samples: int, seed: int, temperature: float = 0.6, top_p: float = 0.95
) -> dict[str, float]:
    """pass@1, pass@k, format share and mean tokens, whole and of the thought, on held-out questions."""
    records = [problem(seed, index, "test") for index in range(questions)]
    texts = [R1_ZERO.format(prompt=record["prompt"]) for record in records]
    close = sampler.tokenizer.encode("</think>", False)[0]
    right, shaped, tokens, thinking = [0.0] * questions, 0.0, 0, 0
    options, weights = Options(), {"accuracy": 1.0, "format": 1.0}
    params = SamplingParams(temperature, top_p, MAX_TOKENS)
    for index, sample in sample_all(sampler, texts, samples, params, seed):
        completion = completion_text(sampler.tokenizer, sample)
        rollout = {**records[index], "completion": completion, "finish": sample.finish}
        rewards = judge(rollout, weights, options)["rewards"]
        right[index] += rewards["accuracy"]
        shaped += rewards["format"]
        tokens += len(sample.ids)
        thinking += sample.ids.index(close) if close in sample.ids else 0
    total = questions * samples
    return {
        "pass@1": sum(right) / total,
        f"pass@{samples}": sum(value > 0 for value in right) / questions,
        "format": shaped / total,
        "tokens": tokens / total,
        "thinking_tokens": thinking / total,
    }


def accept(folder: Path, *, questions: int = 200, samples: int = 16, seed: int = 0) -> dict:
    """All figures of a base, and the list of bounds that it fails (empty when it may ship)."""
    model = load_model(folder, dtype=torch.float32, device="cpu")
    sampler = TorchSampler(model, Tokenizer.load(folder), slots=512)
    forced = forced_accuracy(sampler, questions=questions, samples=4, seed=seed)
    base = evaluate(sampler, questions=questions, samples=samples, seed=seed)
    gain = min(forced["en"], forced["zh"]) / max(forced["direct"], 1e-9)
    problems = []
    if gain < LEAST_GAIN:
        problems.append(f"thinking pays {gain:.2f} times as much as answering at once; expected at least {LEAST_GAIN}")
    if base["pass@1"] > MOST_CORRECT:
        problems.append(f"pass@1 is {base['pass@1']:.3f}; expected at most {MOST_CORRECT}")
    if not FORMAT[0] <= base["format"] <= FORMAT[1]:
        problems.append(f"format share is {base['format']:.3f}; expected {FORMAT[0]} to {FORMAT[1]}")
    return {"forced": rounded(forced), "base": rounded(base), "gain": round(gain, 2), "problems": problems}


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """The figures with four decimals."""
    return {name: round(value, 4) for name, value in figures.items()}


def main(arguments: list[str] | None = None) -> int:
    """Reads the folder and options, writes the figures, returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m r1cli.tiny.accept", description="Test a tiny base.")
    parser.add_argument("folder", type=Path, help="what pretrain wrote")
    parser.add_argument("--questions", type=int, default=200, help="held-out questions")
    parser.add_argument("--samples", type=int, default=16, help="samples of each for pass@1")
    parser.add_argument("--seed", type=int, default=0, help="of the questions and of the samples")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    figures = accept(options.folder, questions=options.questions, samples=options.samples, seed=options.seed)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 1 if figures["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
