"""What the runs of paper-in-miniature.sh measured, as one JSON file: `collect.py RUNS RESULTS.json`.

Reads the judged samples, learning curves and CPU times that the script left in RUNS; computes the differences that
findings.py names, with their intervals. It decides nothing and draws nothing: page.py makes the page of it.
"""

import json
import math
import os
import re
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from findings import FINDINGS, QUANTITIES, Claim

import r1cli
from r1cli.atomic import replace_file
from r1cli.evaluation.estimators import cons_at_k
from r1cli.evaluation.intervals import interval, paired_interval, t_quantile
from r1cli.evaluation.samples import read_sample

BASES = ("base", "student-base")
CHINESE = re.compile("[〇一-鿿]")
THINK_END = 4  # the id of </think> in the tiny bases' tokenizer
CURVES = {
    "zero": "R1-Zero",
    "language": "with language reward",
    "reasoning": "after a cold start",
    "heavy": "format x 5",
}
Means = dict[str, dict[str, float]]  # of a checkpoint: quantity, question, mean over its samples


def measure(file: Path) -> Means:
    """The quantities of findings.py, question by question, from a file of judged samples."""
    samples = defaultdict(list)
    for line in file.read_text().splitlines():
        record = json.loads(line)
        samples[record["id"]].append((record, read_sample(record, lenient=True, think_end=THINK_END)))
    means: Means = {name: {} for name in QUANTITIES}
    for question, pairs in samples.items():
        votes = [(sample.answer, sample.right) for _, sample in pairs]
        thoughts = [bool(CHINESE.search(r["completion"])) for r, s in pairs if s.thinking_characters]
        plain = [s.formatted and not CHINESE.search(r["completion"]) for r, s in pairs]
        values = {
            "right": fmean(s.right for _, s in pairs),
            "consensus": cons_at_k(votes, len(votes), seed=question),
            "thinking": fmean(s.thinking_tokens or 0 for _, s in pairs),
            "formatted": fmean(s.formatted for _, s in pairs),
            "readable": fmean(plain),
        } | ({"chinese": fmean(thoughts)} if thoughts else {})
        for name, value in values.items():
            means[name][question] = value
    return means


def slope(values: dict[str, float], terms: dict[str, int]) -> tuple[float, list[float]]:
    """Least-squares slope over the number of terms, with its 95% t interval."""
    xs, ys = [terms[question] for question in values], list(values.values())
    x, y = fmean(xs), fmean(ys)
    squares = math.fsum((one - x) ** 2 for one in xs)
    found = math.fsum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / squares
    rest = math.fsum((b - y - found * (a - x)) ** 2 for a, b in zip(xs, ys, strict=True))
    half = t_quantile(len(xs) - 2) * math.sqrt(rest / (len(xs) - 2) / squares)
    return found, [found - half, found + half]


def compare(claim: Claim, seed: int, found: dict[str, Means], terms: dict[str, int]) -> dict:
    """One row of a claim: what it compares for this seed, the difference and its interval over questions."""

    def values(side: tuple[str, str]) -> dict[str, float]:
        checkpoint, quantity = side
        name, _, moment = checkpoint.partition("-")  # zero-halfway is in zero-0-halfway.jsonl
        trained = "-".join(filter(None, (name, str(seed), moment)))
        return found[checkpoint if checkpoint in BASES else trained][quantity]

    plus = values(claim.plus)
    if claim.minus is None:
        difference, ci95 = slope(plus, terms)
        return {"seed": seed, "difference": difference, "ci95": ci95}
    minus = values(claim.minus)
    shared = [question for question in plus if question in minus]
    differences = [plus[question] - minus[question] for question in shared]
    return {
        "seed": seed,
        "minus": fmean(minus[question] for question in shared),
        "plus": fmean(plus[question] for question in shared),
        "difference": fmean(differences),
        "ci95": paired_interval(differences),
        "questions": len(shared),
    }


def of_bases(claim: Claim) -> bool:
    """Whether no trained checkpoint takes part in a claim."""
    return all(side is None or side[0] in BASES for side in (claim.plus, claim.minus))


def cpu_seconds(file: Path) -> float:
    """The CPU seconds that bash's `times` says of a process's children: minutes and seconds, user and system."""
    spent = file.read_text().splitlines()[1]
    return sum(60 * int(m) + float(s) for m, s in re.findall(r"(\d+)m([\d.]+)s", spent))


def collect(runs: Path) -> dict:
    """Everything that the page shows."""
    questions = [json.loads(line) for line in (runs / "held-out.jsonl").read_text().splitlines()]
    terms = {record["id"]: record["prompt"].count(",") + 1 for record in questions}
    found = {file.stem: measure(file) for file in sorted(runs.glob("*.jsonl")) if file.stem != "held-out"}
    seeds = sorted(int(file.stem.removeprefix("zero-")) for file in runs.glob("zero-*.times"))
    # The student's own reinforcement learning is represented by its best learning rate, on average over the seeds.
    rates = sorted({name.rpartition("-")[0] for name in found if re.match(r"student\d", name)})
    best = max(rates, key=lambda rate: fmean(fmean(found[f"{rate}-{seed}"]["right"].values()) for seed in seeds))
    for seed in seeds:
        found[f"student-{seed}"] = found[f"{best}-{seed}"]
    length = defaultdict(lambda: defaultdict(list))
    for name in ("base", *(f"zero-{seed}" for seed in seeds)):
        for question, value in found[name]["thinking"].items():
            length[name.partition("-")[0]][terms[question]].append(value)
    # What is about bases alone is the same for every seed of the reinforcement learning.
    claims = [
        [[compare(c, s, found, terms) for s in (seeds[:1] if of_bases(c) else seeds)] for c in finding.claims]
        for finding in FINDINGS
    ]
    curves = defaultdict(dict)
    for arm in CURVES:
        for seed in seeds:
            updates = [json.loads(line) for line in (runs / f"{arm}-{seed}" / "metrics.jsonl").read_text().splitlines()]
            curves[arm][seed] = {
                key: [update["rewards"][key] for update in updates]
                for key in ("accuracy", "format", "language")
                if key in updates[0]["rewards"]
            }
    import torch

    return {
        "r1": r1cli.__version__,
        "torch": torch.__version__,
        "seeds": seeds,
        "settings": {name: os.environ.get(name) for name in ("UPDATES", "HALFWAY", "SECOND", "ALONE", "COLD", "TAUGHT",
                                                             "EPOCHS", "K", "HELD", "RATES")},
        "cpu_seconds": {file.stem: cpu_seconds(file) for file in sorted(runs.glob("*.times"))},
        "training_cpu_seconds": {file.stem: cpu_seconds(file) for file in sorted(runs.glob("*.training"))},
        "best_rate": best.removeprefix("student"),
        "checkpoints": {
            name: {
                quantity: {"mean": fmean(values.values()), "ci95": interval(list(values.values()))}
                if quantity != "thinking" else {"mean": fmean(values.values())}
                for quantity, values in means.items() if values
            }
            for name, means in found.items()
        },
        "claims": claims,
        "curves": curves,
        "length_by_terms": {name: {n: fmean(v) for n, v in sorted(by.items())} for name, by in length.items()},
    }  # fmt: skip


def rounded(value: object) -> object:
    """The same with five decimals at most: what a reader of the file can use."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {str(key): rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    runs, results = map(Path, sys.argv[1:])
    results.parent.mkdir(parents=True, exist_ok=True)
    replace_file(results, (json.dumps(rounded(collect(runs)), indent=1) + "\n").encode())
