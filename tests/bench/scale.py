"""How time and memory of r1's update and sampler grow with group size, length, vocabulary and depth.

    OMP_NUM_THREADS=1 python tests/bench/scale.py [--what group length vocabulary layers]

From one base case (3M parameters, 2 questions x 8 answers x 128 tokens) one number at a time is changed. Each point is
a process of its own: one warm-up round, then the CPU seconds of --repeats rounds (median) and the peak memory above the
imports. `exponent` is the slope of log(figure) over log(number) by least squares: 1 is linear. Attention makes time in
the length grow faster in the end; what does not depend on the number (weights, the trunk) makes it grow slower.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

from sides import Side, Spec, Turns, load_average, say

BASE = {"questions": 2, "group": 8, "length": 128, "vocabulary": 320, "layers": 4}
POINTS = {
    "group": (4, 8, 16, 32),
    "length": (64, 128, 256, 512, 1024),
    "vocabulary": (320, 4096, 32768, 131072),
    "layers": (2, 4, 8, 16),
}
PROMPT = 36


def play_update(spec: Spec) -> None:
    """GRPO updates with the reference KL on."""
    turns = Turns()
    import random

    import torch

    from r1cli.algorithms.settings import GrpoSettings
    from r1cli.backend import checkpoint
    from r1cli.backend.batches import Rollout
    from r1cli.backend.grpo import grpo_step
    from r1cli.backend.trainer_torch import TorchTrainer

    turns.imported()
    policy, reference = (checkpoint.load_model(spec["folder"], dtype=torch.float32, device="cpu") for _ in range(2))
    reference.requires_grad_(False)
    trainer, draw = TorchTrainer(policy), random.Random(0)
    batch = []
    for question in range(spec["questions"]):
        prompt = [draw.randrange(spec["vocabulary"]) for _ in range(PROMPT)]
        for member in range(spec["group"]):
            ids = [draw.randrange(spec["vocabulary"]) for _ in range(spec["length"])]
            batch.append(Rollout(prompt, ids, [], float(member % 2), {}, question, "stop", 1.0, spec["length"]))

    def work() -> Spec:
        grpo_step(trainer, batch, GrpoSettings(lr=1e-6), reference=reference, stale=False, step=0)
        return {}

    turns.play(work)


def play_sampler(spec: Spec) -> None:
    """Batches of the torch sampler; no token ends an answer."""
    turns = Turns()
    import torch

    from r1cli.backend import checkpoint
    from r1cli.backend.sampler_torch import Group, SamplingParams, TorchSampler

    class NoEnds:
        end_tokens = ()

    turns.imported()
    model = checkpoint.load_model(spec["folder"], dtype=torch.float32, device="cpu")

    def work() -> Spec:
        sampler = TorchSampler(model, NoEnds(), slots=128)
        for question in range(spec["questions"]):
            prompt = [(37 * question + 11 * place) % 300 for place in range(PROMPT)]
            seeds = [question * 1000 + member for member in range(spec["group"])]
            sampler.add(Group(question, prompt, seeds, SamplingParams(max_tokens=spec["length"])))
        while sampler.busy:
            sampler.step()
        return {}

    turns.play(work)


def slope(numbers: tuple[int, ...], values: list[float]) -> float:
    """Exponent of a power law through the points."""
    xs, ys = [math.log(n) for n in numbers], [math.log(v) for v in values]
    mx, my = statistics.mean(xs), statistics.mean(ys)
    pairs = zip(xs, ys, strict=True)
    return round(sum((x - mx) * (y - my) for x, y in pairs) / sum((x - mx) ** 2 for x in xs), 2)


def measure(side: str, spec: Spec, repeats: int) -> tuple[float, float]:
    """Median CPU seconds of the counted rounds and peak memory of one point."""
    process = Side(__file__, side, spec)
    reports = [process.round() for _ in range(repeats + 1)]
    process.close()
    return statistics.median(r["cpu_s"] for r in reports[1:]), max(r["peak_mb"] for r in reports)


def main() -> None:
    """Runs all points and prints one JSON object."""
    if sys.argv[1:2] == ["--side"]:
        return {"update": play_update, "sampler": play_sampler}[sys.argv[2]](json.loads(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=list(POINTS), default=list(POINTS))
    parser.add_argument("--sides", nargs="+", choices=["update", "sampler"], default=["update", "sampler"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import checkpoints

    result: Spec = {"settings": vars(args), "base": BASE}
    for what in args.what:
        rows: dict[str, list[tuple[float, float]]] = {side: [] for side in args.sides}
        for number in POINTS[what]:
            spec = {**BASE, what: number, "threads": args.threads}
            with tempfile.TemporaryDirectory() as folder:
                shape = {"vocab_size": spec["vocabulary"], "num_hidden_layers": spec["layers"]}
                checkpoints.write(Path(folder), "3M", **shape)
                for side in args.sides:
                    began = time.perf_counter()
                    found = measure(side, {**spec, "folder": folder}, args.repeats)
                    rows[side].append(found)
                    took = time.perf_counter() - began
                    say(f"{what} {number}: {side} {found[0]:.3f} s of CPU, {found[1]:.0f} MB ({took:.0f} s in all)")
        result[what] = {
            side: {
                "points": POINTS[what],
                "cpu_s": [round(time, 4) for time, _ in points],
                "peak_mb": [round(peak) for _, peak in points],
                "time_exponent": slope(POINTS[what], [time for time, _ in points]),
                "memory_exponent": slope(POINTS[what], [peak for _, peak in points]),
            }
            for side, points in rows.items()
        }
    print(json.dumps({**result, "load": load_average()}, indent=1))


if __name__ == "__main__":
    main()
