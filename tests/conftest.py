"""Running the real program: what the tests of commands and backends share."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Folders of their own for what needs vLLM (`origin` is None for the folder itself) and for what needs a card.
_vllm = importlib.util.find_spec("vllm")
collect_ignore = [] if _vllm is not None and _vllm.origin else ["vllm"]
collect_ignore += [] if Path("/dev/nvidiactl").exists() else ["gpu"]

R1 = [sys.executable, "-m", "r1cli"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def run_r1(*arguments, stdin=b"", check=None, cwd=None, env=None, timeout=120):
    """Runs `r1 ARGUMENTS` to its end and returns the finished process, with bytes in stdout and stderr.

    `stdin` is bytes or an open file; `check` the exit code that the test relies on before it looks further.
    """
    done = subprocess.run(
        [*R1, *map(str, arguments)],
        **({"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}),
        capture_output=True,
        cwd=cwd,
        env={**ENVIRONMENT, **(env or {})},
        timeout=timeout,
    )
    if check is not None:
        assert done.returncode == check, done.stderr.decode()
    return done


def shell(script, *, cwd, timeout=120):
    """Runs a bash script in which `r1` is the program under test; returns the finished process with text output."""
    program = f'r1() {{ "{sys.executable}" -m r1cli "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", program + script], cwd=cwd, capture_output=True, text=True, env=ENVIRONMENT, timeout=timeout
    )


# A suite started by nohup, or in the background of a script, inherits ignored signals, and so would every program here.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture
def r1():
    """The program, as a function."""
    return run_r1


@pytest.fixture
def run(tmp_path) -> Path:
    """A fresh run from the tiny base."""
    folder = tmp_path / "run"
    run_r1("init", folder, "--from", "tiny", check=0)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A run with a resident backend, shared by the tests of a module; it is stopped at the end."""
    folder = tmp_path_factory.mktemp("served") / "run"
    run_r1("init", folder, "--from", "tiny", check=0)
    run_r1("serve", folder, "--detach", check=0)
    yield folder
    run_r1("serve", folder, "--stop", check=0)
