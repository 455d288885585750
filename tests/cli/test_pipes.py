"""The manners of a Unix filter, through real pipes, real signals and full disks."""

import json
import os
import subprocess

import pytest
from conftest import ENVIRONMENT, R1, run_r1, shell

SMALL = "--questions 2 --group 3 --max-tokens 8"
ROLLOUT = {"id": "a", "prompt": "1 + 1", "answer": "2", "completion": "<think>1</think><answer>2</answer>"}

JUDGED = {**ROLLOUT, "rewards": {"accuracy": 1.0}, "reward": 1.0}


@pytest.fixture
def many(tmp_path):
    """A file of records that does not fit into a pipe's buffer."""
    file = tmp_path / "many.jsonl"
    file.write_text("".join(json.dumps({**ROLLOUT, "id": str(n), "pad": "x" * 200}) + "\n" for n in range(4000)))
    return file


def test_head_ends_the_pipe_in_peace(served, tmp_path):
    """A reader that has enough is no error, for none of the stages."""
    done = shell(
        f"r1 sample {served} --questions 8 --group 16 | head -3 | jq -r .completion; echo ${{PIPESTATUS[@]}}",
        cwd=tmp_path,
    )
    assert done.stdout.splitlines()[-1] == "0 0 0"
    assert done.stderr == ""


def test_prompts_that_nobody_asked_for(served, tmp_path):
    """A run draws its own questions; prompts that wait on stdin are left there, and a line says how to take them."""
    prompt = b'{"prompt":"1 + 1"}\n'
    (tmp_path / "q.jsonl").write_bytes(prompt)
    (tmp_path / "list").write_text("one\ntwo\n")
    sample = ["sample", served, "--questions", "1", "--group", "1", "--max-tokens", "4"]
    read, write = os.pipe()
    os.write(write, prompt)
    for source in (os.fdopen(read, "rb"), (tmp_path / "q.jsonl").open("rb")):
        with source:
            done = run_r1(*sample, stdin=source, check=0)
        assert done.stderr.decode().endswith(f"to sample from them: r1 sample {served} -\n")
    os.close(write)
    with (tmp_path / "list").open("rb") as names:  # as in `while read`
        assert run_r1(*sample, stdin=names, check=0).stderr == b""
    assert run_r1(*sample, check=0).stderr == b""


STREAMING = [
    "prompts sum --limit 100000",
    "prompts many.jsonl",
    "reward --format many.jsonl",
    "filter --max-chars 999 many.jsonl",
    "show many.jsonl",
    "sample RUN --questions 32 --group 16",
]


@pytest.mark.parametrize("command", STREAMING)
def test_reader_that_leaves(served, many, command):
    """Exit 0 and not a word, wherever in the stream the reader goes away."""
    done = shell(
        f"set -o pipefail; r1 {command.replace('RUN', str(served))} | head -c 1000 | wc -c; echo ${{PIPESTATUS[0]}}",
        cwd=many.parent,
    )
    assert done.stdout.split() == ["1000", "0"]
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["eval -", "grpo-step", "--help", "sample --help", "--version"])
def test_reader_that_was_never_there(served, tmp_path, command):
    """Nobody reads: the first write finds out, and that is no error either."""
    read, write = os.pipe()
    os.close(read)
    judged = _judged(served) if command == "grpo-step" else json.dumps(JUDGED).encode() + b"\n"
    done = subprocess.run([*R1, *command.split()], input=judged, stdout=write, stderr=subprocess.PIPE, env=ENVIRONMENT)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def _judged(run, *options):
    rollouts = run_r1("sample", run, *SMALL.split(), *options, check=0).stdout
    return run_r1("reward", "--format", "--accuracy", "-q", stdin=rollouts, check=0).stdout


FULL = [
    "prompts sum", "prompts many.jsonl", "reward --format many.jsonl", "show many.jsonl", "eval - < one.jsonl",
    "plot two.jsonl", "--help", "--version", f"sample RUN {SMALL}",
]  # fmt: skip


@pytest.mark.parametrize("command", FULL)
def test_full_disk(served, many, command):
    """The device's own words, and failure."""
    (many.parent / "one.jsonl").write_text(json.dumps(JUDGED) + "\n")
    (many.parent / "two.jsonl").write_text('{"step":1,"reward":0.1}\n{"step":2,"reward":0.3}\n')
    done = shell(f"r1 {command.replace('RUN', str(served))} > /dev/full; echo $?", cwd=many.parent)
    assert done.stdout == "1\n"
    assert "No space left on device" in done.stderr and done.stderr.count("\n") == 1


def test_full_disk_after_an_update(served):
    """The metrics could not be written, but the update is there, and a retry gives them."""
    judged = _judged(served)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*R1, "grpo-step"], input=judged, stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert done.returncode == 1 and b"No space left" in done.stderr
    latest = os.readlink(served / "latest")
    again = run_r1("grpo-step", stdin=judged, check=0)
    assert json.loads(again.stdout)["step"] == int(latest.removeprefix("step-"))
    assert os.readlink(served / "latest") == latest


def test_pipefail_sees_the_stage_that_failed(served, tmp_path):
    """An error upstream reaches the shell, and the trainer does not train on the half that arrived."""
    latest = os.readlink(served / "latest")
    done = shell(
        f"set -o pipefail; r1 sample {served} {SMALL} > a.jsonl; echo '{{torn' >> a.jsonl\n"
        "head -3 a.jsonl > half.jsonl; tail -1 a.jsonl >> half.jsonl\n"
        "cat half.jsonl | r1 reward --format --accuracy | r1 grpo-step; echo ${PIPESTATUS[@]}",
        cwd=tmp_path,
    )
    assert done.stdout == "0 2 2\n"
    first, second = sorted(done.stderr.splitlines())
    assert first.startswith("r1 grpo-step: ") and "missing" in first
    assert second.startswith("r1 reward: stdin:4: not JSON")
    assert os.readlink(served / "latest") == latest


def test_files_are_read_in_turn(tmp_path):
    """FILE..., - among them; an error names its file and its own line number."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(json.dumps({**ROLLOUT, "id": name}))  # without a newline at the end
    line = json.dumps({**ROLLOUT, "id": "-"}).encode()
    done = run_r1("reward", "--format", "b", "-", "a", stdin=line, cwd=tmp_path, check=0)
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["b", "-", "a"]
    (tmp_path / "b").write_text("\n\nno\n")
    done = run_r1("reward", "--format", "-q", "a", "b", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(b"r1 reward: b:3: not JSON")


def test_line_numbers_reach_through_a_backend(served, tmp_path):
    """The client forwards lines unparsed: the backend still names the file and the line in it."""
    lines = _judged(served).splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines[:2]) + b"\n\n" + b"".join(lines[2:4]))
    (tmp_path / "b.jsonl").write_bytes(lines[4] + b"\n" + lines[5].replace(b'"finish"', b'"fin"'))
    done = run_r1("grpo-step", "a.jsonl", "b.jsonl", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(b'r1 grpo-step: b.jsonl:3: missing "finish"')
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines[:2]) + b"\n\n" + lines[2] + b"no\n")
    done = run_r1("grpo-step", "a.jsonl", "b.jsonl", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(b"r1 grpo-step: a.jsonl:6: not JSON")


def test_several_batches_are_one_update(served, tmp_path):
    """cat a b, in any order; a cut one among them is refused."""
    a, b = _judged(served), _judged(served, "--draw", "1")
    before = (served / "metrics.jsonl").read_bytes() if (served / "metrics.jsonl").exists() else b""
    (tmp_path / "a").write_bytes(a)
    (tmp_path / "b").write_bytes(b)
    cut = shell("cat a <(head -5 b) | r1 grpo-step; echo $?", cwd=tmp_path)
    assert cut.stdout == "2\n" and "missing 1 rollouts" in cut.stderr
    done = shell("cat a b | shuf | r1 grpo-step", cwd=tmp_path)
    (update,) = (json.loads(line) for line in done.stdout.splitlines())
    assert update["step"] == len(before.splitlines()) + 1
    tokens = sum(len(json.loads(line)["completion_ids"]) for line in (a + b).splitlines())
    assert update["tokens"] == tokens
    assert len((served / "metrics.jsonl").read_bytes().splitlines()) == update["step"]


def test_users_keys_survive_the_whole_pipe(served, tmp_path):
    """From a prompts file through sampling and judging, in place and in order."""
    (tmp_path / "p.jsonl").write_text('{"zeta":[1,{"k":null}],"prompt":"1 + 1","answer":"2","alpha":"\\u00e9"}\n')
    done = shell(f"r1 sample {served} p.jsonl --group 2 --max-tokens 8 | r1 reward --accuracy -q", cwd=tmp_path)
    for line in done.stdout.splitlines():
        record = json.loads(line)
        keys = list(record)
        assert keys[:5] == ["id", "zeta", "prompt", "answer", "alpha"]
        assert keys[-3:] == ["rewards", "reward", "reward_info"]
        assert (record["zeta"], record["alpha"]) == ([1, {"k": None}], "é")
    assert len(done.stdout.splitlines()) == 2
