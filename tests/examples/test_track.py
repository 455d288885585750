"""examples/track.py: what it tells each tracker, by packages of their names that write down what they are told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TRACK = Path(__file__).parents[2] / "examples" / "track.py"
METRICS = [
    {"step": 1, "reward": 0.5, "rewards": {"accuracy": 0.25}, "kl": None, "saved": True, "id": "x"},
    {"step": 2, "reward": 1, "rewards": {"accuracy": 1.0}, "saved": False},
]
FOUND = [{"reward": 0.5, "rewards/accuracy": 0.25}, {"reward": 1, "rewards/accuracy": 1.0}]
TOLD = """
import json, sys
def told(*parts, **named):
    print(json.dumps([*parts, named]), flush=True)
"""
TRACKER = f"""{TOLD}
class Run:
    def define_metric(self, *parts, **named):
        told("define", *parts, **named)
def init(**named):
    told("init", **named)
    return Run()
def log(*parts, **named):
    told("log", *parts, **named)
def finish():
    told("finish")
"""
WRITER = f"""{TOLD}
class SummaryWriter:
    def __init__(self, *parts):
        told("init", *parts)
    def add_scalar(self, *parts):
        told("log", *parts)
    def flush(self):
        pass
    def close(self):
        told("finish")
"""
SCALARS = [("reward", 0.5, 1), ("rewards/accuracy", 0.25, 1), ("reward", 1, 2), ("rewards/accuracy", 1.0, 2)]


@pytest.mark.parametrize(
    ("tracker", "calls"),
    [
        ("trackio", [["log", found, {"step": step}] for step, found in enumerate(FOUND, 1)]),
        (
            "wandb",
            [["define", "*", {"step_metric": "step"}]]
            + [["log", found | {"step": step}, {}] for step, found in enumerate(FOUND, 1)],
        ),
        ("tensorboard", [["log", *scalar, {}] for scalar in SCALARS]),
    ],
)
def test_numbers_reach_the_tracker(tracker, calls, tmp_path):
    """Every number under its step, objects by a slash, nothing that is no number; and the run is finished."""
    (tmp_path / f"{tracker}.py").write_text(TRACKER)
    (tmp_path / "torch" / "utils").mkdir(parents=True)
    for folder in ("torch", "torch/utils"):
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "torch" / "utils" / "tensorboard.py").write_text(WRITER)
    done = subprocess.run(
        [sys.executable, TRACK, tracker, "place", "--name", "zero"],
        input="".join(json.dumps(record) + "\n" for record in METRICS),
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    begun = ["init", "place", {}] if tracker == "tensorboard" else ["init", {"project": "place", "name": "zero"}]
    assert [json.loads(line) for line in done.stdout.splitlines()] == [begun, *calls, ["finish", {}]]
