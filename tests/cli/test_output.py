"""Where records go: -o and its rename, devices, closed descriptors, and libraries that would like to write too."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, R1, run_r1, shell

ROLLOUT = {"id": "a", "prompt": "1 + 1", "answer": "2", "completion": "<think>1</think><answer>2</answer>"}


def test_output_file_appears_whole(tmp_path):
    """While the work goes on the old file stands; at the end the new one is there and no .part."""
    out = tmp_path / "out.jsonl"
    out.write_text("old\n")
    process = subprocess.Popen(
        [*R1, "reward", "--format", "-q", "-o", out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    )
    process.stdin.write(json.dumps(ROLLOUT).encode() + b"\n")
    process.stdin.flush()
    part = tmp_path / "out.jsonl.part"
    _until(lambda: part.exists() and part.stat().st_size > 0)
    assert out.read_text() == "old\n"
    assert process.communicate(timeout=20)[0] == b""
    assert process.returncode == 0
    assert json.loads(out.read_text())["rewards"] == {"format": 1.0}
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl"]


def test_output_file_after_a_failure(tmp_path):
    """The old file is kept, and what was written stays beside it."""
    out = tmp_path / "out.jsonl"
    out.write_text("old\n")
    done = run_r1("reward", "--format", "-o", out, stdin=json.dumps(ROLLOUT).encode() + b"\n{torn")
    assert done.returncode == 2
    assert out.read_text() == "old\n"
    assert json.loads((tmp_path / "out.jsonl.part").read_text())["rewards"] == {"format": 1.0}


def test_output_to_a_device_or_a_link(tmp_path):
    """-o writes into a device, a pipe or a link's file; it never puts a file in their place."""
    line = json.dumps(ROLLOUT).encode() + b"\n"
    done = run_r1("reward", "--format", "-q", "-o", "/dev/stdout", stdin=line, check=0)
    assert json.loads(done.stdout)["reward"] == 1.0
    run_r1("reward", "--format", "-q", "-o", "/dev/null", stdin=line, check=0)
    assert not Path("/dev/null").is_file() and Path("/dev/stdout").is_symlink()
    (tmp_path / "link").symlink_to("target")
    run_r1("reward", "--format", "-q", "-o", tmp_path / "link", stdin=line, check=0)
    assert os.readlink(tmp_path / "link") == "target"
    assert json.loads((tmp_path / "target").read_text())["reward"] == 1.0
    assert sorted(os.listdir(tmp_path)) == ["link", "target"]
    full = run_r1("reward", "--format", "-o", "/dev/full", stdin=line)
    assert full.returncode == 1 and b"/dev/full: No space left" in full.stderr


def test_output_that_cannot_be_made(tmp_path):
    """Known before anything is computed."""
    done = run_r1("reward", "--format", "-o", tmp_path / "no" / "out.jsonl")
    assert done.returncode == 1
    assert done.stderr.decode() == f"r1 reward: cannot write {tmp_path}/no/out.jsonl.part: No such file or directory\n"


@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [
        (">&-", 1, "standard output is closed"),
        ("-q -o out.jsonl >&-", 0, ""),
        ("2>&-", 0, ""),
        ("-q -o out.jsonl 2>&- >&-", 0, ""),
        ("<&-", 2, "standard input is closed"),
    ],
)
def test_closed_descriptors(tmp_path, redirection, code, words):
    """Cron and daemons start programs without some of the three; no file may slip into the gap."""
    (tmp_path / "in.jsonl").write_text(json.dumps(ROLLOUT) + "\n")
    done = shell(f"cat in.jsonl | (r1 reward --format {redirection}); echo $?", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == str(code), done.stderr
    assert words in done.stderr
    if "-o" in redirection:
        assert json.loads((tmp_path / "out.jsonl").read_text())["reward"] == 1.0


CHATTERER = """
import os, time
print("hello from a library", flush=True)
os.write(1, b"hello from C\\n")
os.system("echo hello from a child")
if os.fork() == 0:
    time.sleep(30)
    os._exit(0)
MODEL_FILE = ""
class LanguageIdentifier:
    labels = ["en"]
    @classmethod
    def from_model_file(cls, *_, **__):
        return cls()
    def set_languages(self, languages):
        print("hello again", flush=True)
    def classify(self, text):
        return "en", 1.0
    def rank(self, text):
        return [("en", 1.0)]
"""


def test_library_that_prints_and_forks(tmp_path):
    """What a library prints lands on stderr, and its orphan does not hold the pipe open."""
    package = tmp_path / "py3langid"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "langid.py").write_text(CHATTERER)
    thought = "we add the numbers and see what comes out of it in the end, which is easy enough for everyone here"
    record = {**ROLLOUT, "completion": f"<think>{thought}</think><answer>2</answer>"}
    (tmp_path / "in.jsonl").write_text(json.dumps(record) + "\n")
    began = time.monotonic()
    with (
        (tmp_path / "err").open("wb") as err,
        subprocess.Popen(
            [*R1, "reward", "--language", "en", "--language-detector", "-q", "in.jsonl"],
            cwd=tmp_path,  # where the fake package is found
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=err,
        ) as process,
    ):
        out = process.stdout.read()
    assert time.monotonic() - began < 20
    assert process.returncode == 0
    assert len(out.splitlines()) == 1 and json.loads(out)["reward"] == 1.0
    said = (tmp_path / "err").read_text().splitlines()
    assert said == ["hello from a library", "hello from C", "hello from a child", "hello again"]


def _until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
