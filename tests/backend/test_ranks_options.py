"""Options of backends over several ranks that can't be honoured: one line each, before any process is started."""

import os
import re
import socket

import pytest
from conftest import run_r1
from residents import one_line

MEET = ("--rendezvous", "127.0.0.1:29555")

WITHOUT = """
import importlib.util

found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "deepspeed" else found(name, *more)
"""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--trainer", "torch", "--gpus", "2"), "--trainer torch is one process, and 2 were asked for"),
        (("--zero", "2"), "--zero is an option of --trainer deepspeed, and the trainer is torch"),
        (("--offload", "none"), "--offload is an option of --trainer deepspeed"),
        (("--gpus", "2", "--offload", "all"), "needs --zero 3"),
        (("--gpus", "0"), "--gpus"),
        (("--nnodes", "2"), "--nnodes without --node-rank"),
        (MEET, "--rendezvous without --nnodes"),
        (("--nnodes", "2", "--node-rank", "2", *MEET), "of 2 nodes the last is 1"),
        (("--nnodes", "2", "--node-rank", "0", "--rendezvous", "here"), "expected HOST:PORT"),
        (("--gpus", "2", "--device", "cuda:1"), "is one device, and every rank has its own"),
        (("--hostfile", "missing"), "missing: No such file"),
        (("--hostfile", "hosts", "--gpus", "2"), "leave out --gpus"),
        (("--hostfile", "hosts", "--nnodes", "2"), "leave out --nnodes"),
        (("--hostfile", "hosts"), f"its first machine is far.invalid, .* and this is {socket.gethostname()}"),
        (("--hostfile", "bad"), "bad:2: expected a line `HOST slots=N`"),
        (("--hostfile", "empty"), "no line `HOST slots=N`"),
        (("--status", "--gpus", "2"), "take no options of the engine"),
    ],
)
@pytest.mark.parametrize("how", [[], ["--detach"]])
def test_options_that_cannot_be_honoured(served_not, options, words, how, r1):
    """A flag that would be ignored, or would end in somebody's traceback, is an error that says what to do."""
    if "--status" in options and how:
        how = ["--quiet"]
    done = r1("serve", served_not, *options, *how, cwd=served_not.parent)
    assert done.returncode == 2 and done.stdout == b""
    assert re.search(words, one_line(done)), done.stderr
    assert not list(served_not.glob("serve*"))


@pytest.fixture(scope="module")
def served_not(tmp_path_factory):
    """A run that no backend serves, beside some hostfiles."""
    folder = tmp_path_factory.mktemp("options")
    run_r1("init", folder / "run", "--from", "tiny", check=0)
    (folder / "hosts").write_text("far.invalid slots=2\n")
    (folder / "bad").write_text("localhost slots=1\nlocalhost 4\n")
    (folder / "empty").write_text("#\n")
    return folder / "run"


@pytest.mark.parametrize("options", [["--gpus", "2"], ["--trainer", "deepspeed"]])
def test_without_deepspeed_the_error_says_what_installs_it(served_not, tmp_path, options, r1):
    """Found before a process is started."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = r1("serve", served_not, *options, env={"PYTHONPATH": path})
    assert done.returncode == 2 and "pip install 'r1-pipes[deepspeed]'" in one_line(done)
