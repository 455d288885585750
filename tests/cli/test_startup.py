"""Start-up stays light: what a command imports before it works, measured by the interpreter itself."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, run_r1

from r1cli.app import COMMANDS

HEAVY = {
    "torch", "transformers", "tokenizers", "safetensors", "jinja2", "datasets", "vllm", "deepspeed", "numpy", "rich",
    "pydantic", "httpx", "matplotlib",
}  # fmt: skip
HELP_MODULES = 170  # a bare typer --help imports about 144; the interpreter itself about 30 of them, its builders vary
CLIENT_MODULES = 260
ROLLOUT = b'{"id":"a","prompt":"1 + 1","answer":"2","completion":"<think>1</think><answer>2</answer>"}\n'


def imported(*arguments, stdin=b"", check=0):
    """The names of all modules that a run of r1 imports, as `-X importtime` lists them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "r1cli", *map(str, arguments)],
        input=stdin, capture_output=True, env=ENVIRONMENT, timeout=120,
    )  # fmt: skip
    assert done.returncode == check, done.stderr.decode()[-2000:]
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("import time:")]
    names = [line.rpartition("|")[2].strip() for line in lines[1:]]
    assert len(names) > 20  # the listing is there
    return names


def heavy(names):
    return HEAVY & {name.partition(".")[0] for name in names}


def test_the_measure_sees_a_heavy_import():
    """The other tests here would pass if the listing were not understood."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import numpy"], capture_output=True, text=True, env=ENVIRONMENT
    )
    names = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert heavy(names) == {"numpy"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_is_light(arguments):
    """Nothing heavy, not even orjson, and few modules at all: counts do not flake as times do."""
    names = imported(*arguments)
    assert not heavy(names)
    assert "orjson" not in names
    assert len(names) <= HELP_MODULES


@pytest.mark.parametrize(
    "arguments",
    [
        ["reward", "--accuracy", "--format", "--language"],
        ["reward", "--repetition", "--choice"],
        ["filter", "--max-chars", "9999", "--max-repeat", "0.5"],
        ["show"],
        ["prompts", "-"],
        ["prompts", "sum"],
        ["eval", "-"],
    ],
)
def test_filters_are_light(arguments):
    """Judging and showing a stream needs neither torch nor numpy."""
    stdin = ROLLOUT
    if arguments[0] == "eval":
        stdin = run_r1("reward", "--accuracy", "-q", stdin=ROLLOUT, check=0).stdout
    names = imported(*arguments, stdin=stdin)
    assert not heavy(names)
    assert len(names) <= CLIENT_MODULES


def test_init_is_light(tmp_path):
    """Making a run copies files and loads nothing; neither do export and rollback."""
    run = tmp_path / "run"
    assert not heavy(imported("init", run, "--from", "tiny"))
    assert not heavy(imported("export", run, tmp_path / "model"))
    assert not heavy(imported("rollback", run, "--to", "0"))


def test_clients_of_a_backend_are_light(served, tmp_path):
    """With a resident backend a whole step of the loop costs no process a heavy import."""
    small = ["--questions", "2", "--group", "2", "--max-tokens", "8"]
    names = imported("sample", served, *small)
    assert not heavy(names) and len(names) <= CLIENT_MODULES
    rollouts = run_r1("sample", served, *small, check=0).stdout
    judged = run_r1("reward", "--accuracy", stdin=rollouts, check=0).stdout
    names = imported("grpo-step", stdin=judged)
    assert not heavy(names) and len(names) <= CLIENT_MODULES
    assert os.readlink(served / "latest") == "step-000001"
    assert not heavy(imported("serve", served, "--status"))
    assert not heavy(imported("eval", served, "--questions", "1", "-k", "1", "--max-tokens", "4"))


def test_errors_are_light(tmp_path):
    """What can be known without a model is said without loading one."""
    assert not heavy(imported("sample", tmp_path / "nowhere", check=2))
    judged = json.dumps({"completion_ids": []}).encode()
    assert not heavy(imported("grpo-step", stdin=judged, check=2))
    assert not heavy(imported("grpo-step", "--lr", "-1", check=2))


def test_help_lines_are_whole():
    """No command's one-liner is cut off at 80 columns."""
    done = run_r1("--help", env={"COLUMNS": "80"}, check=0)
    between = done.stdout.decode().partition("Begin:\n")[2].partition("Options:\n")[0].splitlines()
    lines = [line for line in between if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == list(COMMANDS)  # one line each, in pipeline order
    assert all(line.endswith(".") and not line.endswith("...") and len(line) <= 80 for line in lines)
