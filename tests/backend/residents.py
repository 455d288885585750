"""What the tests of resident backends share: runs, batches, and waiting for what a backend does."""

import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from conftest import ENVIRONMENT, R1, run_r1


def start_r1(*arguments, **options) -> subprocess.Popen:
    """Starts `r1 ARGUMENTS` with pipes for its output, unbuffered: communicate() takes what readline() has left."""
    usual = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT}
    return subprocess.Popen([*R1, *map(str, arguments)], bufsize=0, **{**usual, **options})


def records(data: bytes) -> list[dict]:
    """The records of a stream."""
    return [json.loads(line) for line in data.splitlines()]


def home(run: Path) -> dict:
    """What serve.json says."""
    return json.loads((run / "serve.json").read_bytes())


def status(run: Path) -> dict:
    """What the backend says of itself."""
    (record,) = records(run_r1("serve", run, "--status", check=0).stdout)
    return record


def wait_for(condition, seconds: float = 60, pause: float = 0.0):
    """Waits until the condition holds and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause)
    return value


def kill_backend(run: Path) -> None:
    """kill -9, as the kernel does it when memory runs out."""
    pid = home(run)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: ended(pid), pause=0.01)


def ended(pid: int) -> bool:
    """Whether a process and all its threads have ended, also when nobody has fetched its exit code."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0] in "ZX" and int(fields[17]) <= 1
    except OSError:
        return True


def judge(rollouts: bytes) -> bytes:
    """Rewards without a judge's cost: by length, so that every group has a signal."""
    return b"".join(
        json.dumps({**record, "rewards": {}, "reward": (len(record["completion_ids"]) % 5) / 4}).encode() + b"\n"
        for record in records(rollouts)
    )


def batch(run: Path, *options) -> bytes:
    """A judged batch of the run's current policy."""
    return judge(run_r1("sample", run, *options, check=0).stdout)


def step_of(run: Path) -> int:
    """The step that is on disk."""
    return int(os.readlink(run / "latest").removeprefix("step-"))


def fingerprint(run: Path) -> dict[str, str]:
    """Digests of everything that decides how the run goes on, but for the run's own name in it."""
    folder = run / "latest"
    found = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in (
            "model.safetensors", "trainer/master.safetensors", "trainer/optimizer.safetensors",
            "trainer/optimizer.json",
        )
    }  # fmt: skip
    state = json.loads((folder / "trainer" / "state.json").read_bytes())
    return found | {key: state[key] for key in ("step", "iteration", "cursor", "references")}


def one_line(done: subprocess.CompletedProcess) -> str:
    """The one line that a failed command said."""
    text = done.stderr.decode()
    assert text.count("\n") == 1 and text.startswith("r1 "), text
    return text
