"""Without what only Linux has, as on macOS: the pipe, the backend and the graders work, the rest says so in a line."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, run_r1

ROOT = Path(__file__).parents[2]
# Equal only by algebra, so that the graders' processes are needed.
BY_ALGEBRA = {"prompt": "?", "answer": r"\sin(2x)", "completion": r"<answer>\boxed{2\sin(x)\cos(x)}</answer>"}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Runs r1 in a process that believes to be on macOS."""
    folder = tmp_path_factory.mktemp("macos")
    shutil.copy(ROOT / "tests" / "other_system.py", folder / "sitecustomize.py")
    paths = {"PYTHONPATH": f"{folder}:{ROOT}:{ENVIRONMENT.get('PYTHONPATH', '')}"}
    return lambda *arguments, **more: run_r1(*arguments, env=paths, **more)


def test_the_pipe_works(elsewhere, tmp_path):
    """Sampling, grading and an update through a resident backend, whose clients are known by the system's own means."""
    run = tmp_path / "run"
    elsewhere("init", run, "--from", "tiny", check=0)
    elsewhere("serve", run, "--detach", check=0)
    try:
        status = json.loads(elsewhere("serve", run, "--status", check=0).stdout)
        assert status["step"] == 0
        rollouts = elsewhere("sample", run, "--questions", "2", "--group", "4", check=0).stdout
        judged = elsewhere("reward", "--format", "--accuracy", stdin=rollouts, check=0).stdout
        assert json.loads(elsewhere("grpo-step", stdin=judged, check=0).stdout)["step"] == 1
    finally:
        elsewhere("serve", run, "--stop", check=0)
    assert not (run / "serve.json").exists()


def test_judges_have_their_processes(elsewhere, tmp_path):
    """math-verify and functions of users run in processes there too, and one that dies is noticed."""
    (tmp_path / "mine.py").write_text("import os\ndef score(row):\n    os._exit(3)\n")
    done = elsewhere(
        "reward", "--accuracy", "--python", tmp_path / "mine.py:score", "--on-error", "null",
        stdin=json.dumps(BY_ALGEBRA).encode(), check=0,
    )  # fmt: skip
    told = json.loads(done.stdout)["reward_info"]
    assert told["accuracy"]["reason"] == "symbolic"
    assert told["score"]["error"] == "the worker ended with exit code 3"


def test_what_is_for_linux_says_so(elsewhere, run):
    """The sandbox and the engines for GPUs: one line, what to do instead, no traceback."""
    code = elsewhere("reward", "--code", stdin=b'{"completion":"x"}\n')
    assert code.returncode == 1 and b"runs programs on Linux (x86_64, aarch64) only" in code.stderr
    unsafe = elsewhere("reward", "--code", "--unsafe-no-sandbox", stdin=b'{"completion":"x"}\n')
    assert unsafe.returncode == 1 and unsafe.stderr == code.stderr
    ranks = elsewhere("serve", run, "--gpus", "2")
    assert ranks.returncode == 2 and b"for Linux" in ranks.stderr
    sampled = elsewhere("sample", run, "--sampler", "vllm", "--questions", "1")
    assert sampled.returncode == 2 and b"--sampler torch" in sampled.stderr
    for done in (code, ranks, sampled):
        assert done.stderr.count(b"\n") == 1


def test_doctor_says_it(elsewhere):
    """The doctor's first lines name the system and what it lacks; the basics are fine."""
    found = {
        line["check"]: line for line in map(json.loads, elsewhere("doctor", "--quick", check=0).stdout.splitlines())
    }
    assert "no sandbox, no vLLM, no DeepSpeed" in found["system"]["found"] and found["system"]["fix"]
