"""Starting, asking and ending a run's resident backend, from the command's side."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from r1cli import ui
from r1cli.backend import launch, layout
from r1cli.backend.base import EngineOptions
from r1cli.backend.client import Client
from r1cli.backend.protocol import Home, announce, find_home, home_file
from r1cli.errors import R1Error
from r1cli.runs import Run

STOP_SECONDS = 600  # an update in progress is finished and saved before a backend ends


def status(run: Run) -> dict[str, Any]:
    """What the backend says of itself; raises R1Error when there is none."""
    client = Client(run)
    try:
        return client.status()
    finally:
        client.close()


def stop(run: Run) -> None:
    """Ends the backend after it has saved; a serve.json that a dead one left behind is removed.

    Raises R1Error when it runs on another machine, does not end, or could not save.
    """
    home = find_home(run)
    if home is None:
        ui.say(f"{run.path} is not being served")
        return
    if not home.elsewhere and not home.alive:
        _clear(run, home)
        ui.say(f"the backend of {run.path} was gone already; cleared up")
        return
    if home.elsewhere:
        raise R1Error(
            f"{run.path} is served on {home.host}; stop it there "
            f"(if that machine is no more, remove {run.path}/serve.json)"
        )
    reached = 0
    with suppress(R1Error):
        reached = status(run)["step"]
    with suppress(ProcessLookupError):
        os.kill(home.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while home.alive:
        if time.monotonic() > deadline:
            raise R1Error(f"process {home.pid} does not end; see {run.path}/serve.log, then kill -9 {home.pid}")
        time.sleep(0.02)
    if (run.path / "serve.json").exists():  # it was killed before it could clear up
        _clear(run, home)
    if run.state().step < reached:
        raise R1Error(
            f"the backend ended without saving step {reached}, see {run.path}/serve.log; "
            f"{run.path} stands at {run.latest().name}"
        )
    ui.say(f"stopped; {run.path} stands at {run.latest().name}")


def _clear(run: Run, home: Home, node: int = 0) -> None:
    home_file(run, node).unlink(missing_ok=True)
    if home.socket:
        Path(home.socket).unlink(missing_ok=True)


def refuse_second(run: Run, node: int = 0) -> None:
    """Raises R1Error when a backend serves the run already; clears up after one that died."""
    home = find_home(run, node)
    if home is None:
        return
    if home.elsewhere or home.alive:
        raise R1Error(f"{run.path} is served already by process {home.pid} on {home.host}")
    _clear(run, home, node)


def detach(run: Run, options: EngineOptions) -> None:
    """Starts a backend that goes on alone; returns when it answers, raises R1Error with its last words if it dies."""
    layout.plan(options, lora="lora" in run.config)  # its errors, before a process is started
    node = options.node_rank or 0
    refuse_second(run, node)
    command = [sys.executable, "-m", "r1cli", "serve", str(run.path)]
    for name, value in options._asdict().items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            command.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            command += [f"--{flag}", str(value)]
    log_file = run.path / (f"serve-node{node}.log" if node else "serve.log")
    with log_file.open("ab") as log:
        begin = log.tell()
        # A session of its own and none of our descriptors: the caller's pipe and terminal must not wait for it.
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
        )
    progress = ui.Progress()
    began = time.monotonic()
    try:
        while not home_file(run, node).exists():
            if child.poll() is not None:
                words = log_file.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
                last = words[-1].removeprefix("r1 serve: ") if words else f"exit code {child.returncode}"
                raise R1Error(f"the backend did not start: {last}")
            doing = _last_word(run.path / "serve.log", begin) or "loading the model"
            progress.update(f"{doing} ({time.monotonic() - began:.0f} s)")
            time.sleep(0.02)
    except BaseException:
        child.terminate()
        raise
    finally:
        progress.clear()
    if node:
        ui.say(f"node {node} takes part in serving {run.path} (process {child.pid})")
        return
    now = status(run)
    ui.say(f"serving {run.path} at step {now['step']} on {now['device']} (process {now['pid']})")


def _last_word(log: Path, begin: int) -> str:
    """The last line that a backend has said of itself since that place in its log, without the time; "" for none."""
    with log.open("rb") as lines:
        lines.seek(begin)
        said = [line.split(maxsplit=2) for line in lines.read().decode(errors="replace").splitlines()]
    return next((words[2] for words in reversed(said) if len(words) == 3 and words[0][:1].isdigit()), "")


def stay(run: Run, options: EngineOptions) -> None:
    """Serves until stopped: in this process, or in those that it starts; on a further node, until node 0 ends."""
    where = layout.plan(options, lora="lora" in run.config)
    node = options.node_rank or 0
    refuse_second(run, node)
    if where is None:
        with run.lock():
            from r1cli.backend.server import Server

            Server(run, options).serve()
        return

    def joined() -> None:
        if node:  # of node 0, rank 0 says when it is ready
            announce(run, None, os.getpid(), node)

    try:
        launch.Launch(run, options, where, joined).stay()
    finally:
        if node:
            home_file(run, node).unlink(missing_ok=True)
