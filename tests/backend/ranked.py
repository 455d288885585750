"""What the tests of backends over several ranks share: their processes, and the same work done by one process."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from conftest import run_r1
from residents import ended, home, judge, records, wait_for

from r1cli.backend.base import EngineOptions
from r1cli.backend.engine import Engine
from r1cli.records import collect
from r1cli.runs import Run
from r1cli.stream import parse

SETTINGS = {"lr": 1e-3, "kl": 0.01}  # large enough to see a difference, and with a reference
TWO = ("--gpus", "2", "--device", "cpu")


def processes(run: Path) -> dict[int, int]:
    """Pid of every rank of a run's backend on this machine, by rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            words = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"r1cli.backend.rank" in command and b"deepspeed.launcher.launch" not in command:
            values = dict(word.partition(b"=")[::2] for word in words)
            if b"RANK" in values and f"R1_TEST={run}".encode() in words:
                found[int(values[b"RANK"])] = int(folder.name)
    return dict(sorted(found.items()))


def marked(run: Path) -> dict[str, str]:
    """The environment of a backend whose processes `processes` finds."""
    return {"R1_TEST": str(run)}


def everything(run: Path) -> list[int]:
    """All processes of a run's backend: what was started, the launcher, the ranks."""
    mark, found = f"R1_TEST={run}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if not ended(pid)]


def serve(run: Path, *options: str, env: dict[str, str] | None = None) -> dict[int, int]:
    """Starts a backend that goes on alone; pids by rank."""
    run_r1("serve", run, *options, "--detach", check=0, env={**marked(run), **(env or {})})
    return processes(run)


def all_gone(run: Path) -> None:
    """Waits until nothing of a backend is left: no process, no socket, no key, nothing in shared memory."""
    wait_for(lambda: not everything(run), seconds=30, pause=0.05)
    assert not (run / "serve-ranks.key").exists()


def end(run: Path) -> None:
    """Ends what a test that failed has left behind."""
    for pid in everything(run):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def freeze(pid: int) -> None:
    """Stops a process where it is, so that the next moment can be looked at."""
    os.kill(pid, signal.SIGSTOP)


def unread(pid: int) -> int:
    """Bytes that have arrived for a process, by TCP, and that it has not read."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            inodes.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    table = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return sum(int(row.split()[4].partition(":")[2], 16) for row in table if row.split()[9] in inodes)


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)


def alone(run: Path, *, questions: int, group: int) -> tuple[list[dict], dict]:
    """One iteration by one process on a run of its own: its rollouts and its metrics."""
    opened = Run.open(run)
    with opened.lock():
        engine = Engine(opened.latest(), opened, EngineOptions(threads=1), print)
        job = engine.plan({"questions": questions, "group": group}, None)
        for part in job.groups:
            engine.sampler.add(part)
        lines = []
        while engine.sampler.busy:
            for part, samples in engine.sampler.step():
                lines += job.lines(part, samples)
        judged = judge(b"".join(lines)).splitlines()
        (metrics,) = engine.grpo_step(
            collect(((line, f"x:{number}") for number, line in enumerate(judged, 1)), parse), {"settings": SETTINGS}
        )
    return records(b"".join(lines)), metrics


def socket_of(run: Path) -> Path:
    """The socket of a run that is served."""
    return Path(home(run)["socket"])


def ids(rollouts: list[dict]) -> dict[tuple, tuple]:
    """The tokens of every sample by question and place in its group."""
    found = {(each["id"], each["group"]["index"]): tuple(each["completion_ids"]) for each in rollouts}
    assert len(found) == len(rollouts)
    return found
