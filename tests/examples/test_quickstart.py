"""The main job as the README gives it: a model that learns to think, through the real pipe."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def program_folder(tmp_path):
    """A folder with an `r1` that runs the program under test, to put first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "r1"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m r1cli "$@"\n')
    script.chmod(0o755)
    return folder


def test_quickstart_teaches_the_base_to_think(tmp_path):
    """The shipped base learns: the band that is promised for every seed, with the format learnt and thoughts longer."""
    run = tmp_path / "zero"
    path = f"{program_folder(tmp_path)}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "examples" / "quickstart.sh", run],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    base, trained = (json.loads((run / f"eval-{name}.json").read_text()) for name in ("base", "trained"))
    assert base["pass@1"] <= 0.27
    assert 0.05 <= base["format"] <= 0.2
    assert trained["items"] == 200 and trained["samples"] == 3200
    assert trained["pass@1"] >= 0.84
    assert trained["format"] >= 0.98
    assert trained["thinking_tokens"] >= 2 * base["thinking_tokens"]

    updates = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [update["step"] for update in updates] == list(range(1, 61))
    # One update per batch of fresh rollouts: the policy that sampled is the one that is trained.
    assert all(update["ratio_deviation"] == 0 for update in updates)
    assert max(update["logprob_gap_max"] for update in updates) < 1e-4
    # What a person sees: curves and a table, and an answer.
    for shown in ("reward:", "format:", "thinking (tokens):", "pass@1", "<think>"):
        assert shown in done.stdout
    assert not (run / "serve.json").exists()


def test_readme_commands_are_marked_once():
    """CI reads its command out of the README: both commands must be there, one line each."""
    readme = (ROOT / "README.md").read_text()
    for mark in ("<!-- main command -->", "<!-- test command -->"):
        assert readme.count(mark) == 1
        block = readme.split(mark)[1].split("<!-- end -->")[0]
        lines = [line for line in block.splitlines() if line.startswith("    ")]
        assert len(lines) == 1 and "pip install" in lines[0]
