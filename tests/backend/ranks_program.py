"""Several processes that run functions of a test module together, as ranks of one gloo group, and keep what they
return.

`run` starts them; run as a program this file is one of them. A start takes seconds, so a module's functions do a lot
at once and the tests look at what they kept. A function takes the folder it is given, on every rank, and returns
anything that pickles.
"""

import contextlib
import fcntl
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

LIMIT = 600.0  # seconds that a start may take, on a machine that does other things as well


def run(module: str, functions: list[str], *, ranks: int, folder: Path, limit: float = LIMIT) -> tuple[str, str]:
    """Runs the functions in order on each rank and returns all they wrote to stdout and stderr.

    Fails with the output of a rank that failed; the others are ended then.
    """
    logs = [[(folder / f"{functions[0]}-{rank}.{name}").open("w+") for name in ("out", "err")] for rank in range(ranks)]
    shared = {"WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1", "TORCH_EXTENSIONS_DIR": str(folder / "built")}
    command = [sys.executable, __file__, str(folder), module, *functions]
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank, (out, err) in enumerate(logs)
    ]
    deadline = time.monotonic() + limit
    try:
        while any(process.poll() is None for process in processes):
            assert not any(process.poll() for process in processes), _told(logs, processes)
            assert time.monotonic() < deadline, f"no end after {limit} s: {_told(logs, processes)}"
            time.sleep(0.05)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
    assert not any(process.returncode for process in processes), _told(logs, processes)
    return tuple("".join(_text(log[stream]) for log in logs) for stream in (0, 1))


def kept(folder: Path, function: str, rank: int = 0) -> Any:
    """What a function returned on a rank."""
    return torch.load(folder / f"{function}-{rank}.pt", weights_only=False)


@contextlib.contextmanager
def once(folder: Path) -> Iterator[bool]:
    """Whether this process is to fill the folder that all test workers share; the others wait until it has."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not (folder / "failed").exists(), "another test worker could not fill the folder"
        first = not (folder / "done").exists()
        (folder / "failed").touch()
        yield first
        (folder / "failed").unlink()
        (folder / "done").touch()


def _told(logs: list[list[Any]], processes: list[subprocess.Popen]) -> str:
    ends = [process.poll() for process in processes]
    return f"exit codes {ends}\n" + "\n".join(_text(err)[-3000:] for _, err in logs)


def _text(log: Any) -> str:
    log.seek(0)
    return log.read()


def main(folder: Path, module: str, functions: list[str]) -> None:
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/{functions[0]}-group",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=LIMIT),
    )
    found = importlib.import_module(module)
    for name in functions:
        torch.save(getattr(found, name)(folder), folder / f"{name}-{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
