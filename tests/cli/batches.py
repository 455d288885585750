"""Judged batches for tests to spoil, and what every refusal must look like. It holds no tests."""

import json
import os
import re

from conftest import run_r1

from r1cli.records import digest

SMALL = ["--questions", "2", "--group", "3", "--max-tokens", "8"]


def sample(run, *options):
    """Judged rollouts of 2 questions x 3 samples, as lines."""
    rollouts = run_r1("sample", run, *SMALL, *options, check=0).stdout
    lines = run_r1("reward", "--format", "--accuracy", "-q", stdin=rollouts, check=0).stdout.splitlines(keepends=True)
    assert len(lines) == 6
    return lines


def standing(run):
    """What must not change when something is refused: the published step, and all updates so far."""
    metrics = run / "metrics.jsonl"
    return os.readlink(run / "latest"), metrics.read_bytes() if metrics.exists() else b""


def iteration(run):
    """How many grpo-steps the run has seen."""
    return len(standing(run)[1].splitlines())


def refused(done, *words, code=2):
    """Asserts one line of error in our form, with these words in it, and nothing on stdout."""
    text = done.stderr.decode()
    assert done.returncode == code, text
    assert text.count("\n") == 1 and text.endswith("\n"), text
    assert re.match(r"r1( [a-z-]+)?: \S", text), text
    for word in words:
        assert word in text, text
    assert done.stdout == b""


def changed(lines, number, change):
    """The lines with one record (counted from 1) changed in place."""
    record = json.loads(lines[number - 1])
    change(record)
    return [*lines[: number - 1], json.dumps(record).encode() + b"\n", *lines[number:]]


def everywhere(lines, change):
    for number in range(1, len(lines) + 1):
        lines = changed(lines, number, change)
    return lines


def put(*path, value):
    """A change that sets a nested key."""

    def change(record):
        for key in path[:-1]:
            record = record[key]
        record[path[-1]] = value

    return change


def drop(*path):
    """A change that removes a nested key."""

    def change(record):
        for key in path[:-1]:
            record = record[key]
        del record[path[-1]]

    return change


def adopted(lines, run):
    """The batch as if it had been sampled from another run's first step."""
    name = json.loads((run / "run.json").read_text())["run"]
    policy = {"run": name, "path": str(run), "step": 0, "iteration": 0, "version": digest(name)}
    return b"".join(everywhere(lines, put("policy", value=policy)))
