"""The resident backend from start to stop, and what its clients see when it is dead: real processes, real sockets."""

import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from conftest import run_r1, shell
from residents import (
    batch,
    ended,
    home,
    kill_backend,
    one_line,
    records,
    start_r1,
    status,
    step_of,
    wait_for,
)

from r1cli.backend.base import EngineOptions
from r1cli.backend.engine import Engine
from r1cli.runs import Run

MANY = ("--questions", "64", "--group", "64")  # 4096 rollouts: far more than a socket and a pipe hold


@pytest.fixture
def resident(run):
    """A run of the test's own with a backend, which is stopped however the test ends."""
    run_r1("serve", run, "--detach", check=0)
    yield run
    run_r1("serve", run, "--stop", check=0)


# Starting and stopping


def test_detach_returns_when_ready_and_keeps_nothing_of_the_callers(run):
    """A pipe behind --detach ends at once, and the backend's descriptors are its own."""
    done = shell(f'r1 serve "{run}" --detach 2>&1 | cat; echo after', cwd=run.parent, timeout=60)
    assert "serving" in done.stdout and done.stdout.endswith("after\n")
    pid = home(run)["pid"]
    try:
        assert status(run)["step"] == 0
        links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [link for link in links if link.startswith(("pipe:", "/dev/pts", "/dev/tty"))]
        assert os.getsid(pid) == pid
    finally:
        run_r1("serve", run, "--stop", check=0)
    assert ended(pid)


def test_stop_saves_and_clears_up_and_a_second_backend_is_refused(run):
    """From start to stop: what --status says, who is refused meanwhile, what is left."""
    run_r1("serve", run, "--detach", check=0)
    address = Path(home(run)["socket"])
    assert stat.S_IMODE(address.stat().st_mode) == 0o600
    assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700
    for arguments in (("--detach",), ()):
        assert "served already" in one_line(run_r1("serve", run, *arguments, check=1))
    assert "is in use by process" in one_line(run_r1("rollback", run, "--to", "0", check=1))
    updated = run_r1("grpo-step", "--save-every", "5", stdin=batch(run), check=0)
    assert records(updated.stdout)[0]["saved"] is False
    assert status(run) | {"seconds": 0} == {
        "run": str(run), "pid": home(run)["pid"], "step": 1, "iteration": 1, "saved": "step-000000", "unsaved": 1,
        "device": status(run)["device"], "sampler": "torch", "trainer": "torch", "ranks": 1, "zero": None,
        "sampling": 0, "waiting": 0, "updating": False, "seconds": 0,
    }  # fmt: skip
    stopped = run_r1("serve", run, "--stop", check=0)
    assert b"stands at step-000001" in stopped.stderr
    assert not (run / "serve.json").exists() and not address.exists()
    assert "not being served" in one_line(run_r1("serve", run, "--status", check=1))
    assert b"not being served" in run_r1("serve", run, "--stop", check=0).stderr


def test_a_foreground_backend_saves_at_sigterm(run):
    """A job scheduler's SIGTERM loses nothing, even in the middle of somebody's sampling."""
    server = start_r1("serve", run)
    wait_for(lambda: (run / "serve.json").exists(), pause=0.05)
    run_r1("grpo-step", "--save-every", "5", stdin=batch(run), check=0)
    client = start_r1("sample", run, *MANY)
    client.stdout.readline()
    server.send_signal(signal.SIGTERM)
    _, words = client.communicate(timeout=60)
    assert server.wait(60) == 0
    assert step_of(run) == 1
    assert client.returncode == 1 and words.count(b"\n") == 1 and b"has been stopped" in words


def test_a_long_path_is_no_obstacle(tmp_path):
    """The system's limit of 107 bytes on socket names is not the user's problem."""
    run = tmp_path / ("long-" * 30) / ("path-" * 20)
    run.parent.mkdir()
    run_r1("init", run, "--from", "tiny", check=0)
    run_r1("serve", run, "--detach", check=0, env={"XDG_RUNTIME_DIR": str(tmp_path / ("r" * 100))})
    try:
        assert len(records(run_r1("sample", run, "--questions", "1", check=0).stdout)) == 16
    finally:
        run_r1("serve", run, "--stop", check=0)


def test_a_copied_run_has_a_backend_of_its_own(resident, tmp_path):
    """cp -a copies the uuid too; the copy's backend must not take over the original's clients."""
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", resident, copy], check=True)
    (copy / "serve.json").unlink()
    run_r1("serve", copy, "--detach", check=0)
    try:
        assert status(resident)["run"] == str(resident) and status(copy)["run"] == str(copy)
    finally:
        run_r1("serve", copy, "--stop", check=0)
    assert status(resident)["run"] == str(resident)


def test_a_backend_that_cannot_start_says_why(run):
    """--detach hands on the last words instead of waiting for an answer that does not come."""
    (run / "step-000000" / "tokenizer.json").unlink()
    done = run_r1("serve", run, "--detach", check=1)
    assert "did not start" in one_line(done) and "tokenizer.json" in one_line(done)
    assert not (run / "serve.json").exists()


# Dead backends


def test_a_dead_backend_is_an_error_until_it_is_cleared(run):
    """Clients never fall back to another home by themselves; --stop or --detach put it right."""
    run_r1("serve", run, "--detach", check=0)
    rewarded = batch(run)
    kill_backend(run)
    for arguments, stdin in (
        (("sample", run), b""), (("eval", run), b""), (("grpo-step",), rewarded), (("serve", run, "--status"), b""),
    ):  # fmt: skip
        began = time.monotonic()
        done = run_r1(*arguments, stdin=stdin, check=1)
        assert time.monotonic() - began < 10
        words = one_line(done)
        assert "is gone" in words and "--detach" in words and "--stop" in words
        assert done.stdout == b""
    run_r1("serve", run, "--detach", check=0)
    assert status(run)["step"] == 0
    kill_backend(run)
    assert b"cleared up" in run_r1("serve", run, "--stop", check=0).stderr
    assert not (run / "serve.json").exists()


def test_a_backend_killed_in_mid_stream_fails_its_clients_at_once(run):
    """Half a stream is exit 1 with one line, never a short success and never a hang."""
    run_r1("serve", run, "--detach", check=0)
    rewarded = batch(run)
    sampler = start_r1("sample", run, *MANY)
    sampler.stdout.readline()
    trainer = start_r1("grpo-step", stdin=subprocess.PIPE)
    trainer.stdin.write(rewarded)
    trainer.stdin.close()
    wait_for(lambda: status(run)["waiting"], pause=0.02)
    kill_backend(run)
    for client in (sampler, trainer):
        client.stdin = None
        _, words = client.communicate(timeout=30)
        assert client.returncode == 1
        assert words.count(b"\n") == 1 and b"died in the middle" in words and b"--detach" in words
    run_r1("serve", run, "--stop", check=0)
    assert step_of(run) == 0


@pytest.mark.parametrize("command", [["sample"], ["eval"], ["serve", "--detach"]])
def test_a_device_that_is_not_there_is_one_line(run, r1, command):
    """A wrong --device is the user's mistake, not a defect of ours."""
    done = r1(command[0], run, *command[1:], "--device", "abacus")
    assert b"no device abacus" in done.stderr and b"bug" not in done.stderr
    assert done.returncode in (1, 2)


def test_options_of_the_engine_belong_to_serve_while_a_run_is_served(served, r1):
    """A flag that the backend cannot honour is an error, never ignored."""
    done = r1("sample", served, "--threads", "2", "--slots", "4")
    assert done.returncode == 2
    assert b"give --threads and --slots to r1 serve" in done.stderr


def test_gradient_checkpointing_changes_memory_and_not_the_update(tmp_path, r1):
    """Recomputed activations give the same gradient; both ways of asking for it are honoured."""
    steps = []
    for name, ask in (("plain", []), ("checkpointed", ["--gradient-checkpointing"])):
        run = tmp_path / name
        r1("init", run, check=0)
        rollouts = r1("sample", run, "--questions", "2", "--group", "4", check=0).stdout
        rewarded = r1("reward", "--accuracy", "--format", stdin=rollouts, check=0).stdout
        steps.append(json.loads(r1("grpo-step", *ask, stdin=rewarded, check=0).stdout))
    assert steps[0]["grad_norm"] > 0
    assert steps[0]["grad_norm"] == pytest.approx(steps[1]["grad_norm"], rel=1e-6)
    assert steps[0]["loss"] == pytest.approx(steps[1]["loss"], rel=1e-6)
    # The same update either way, so only the trainer itself can tell that the option arrived.
    for asked in (True, None):
        opened = Run.open(tmp_path / "plain")
        engine = Engine(opened.latest(), opened, EngineOptions(gradient_checkpointing=asked), print)
        assert engine.learner.trainer().model.checkpoint_layers is bool(asked)


def test_save_every_needs_a_backend(run, r1):
    """A process of one update has to save it: asking otherwise is refused before anything is trained."""
    rollouts = r1("sample", run, "--questions", "2", "--group", "4", check=0).stdout
    rewarded = r1("reward", "--accuracy", stdin=rollouts, check=0).stdout
    done = r1("grpo-step", "--save-every", "3", stdin=rewarded)
    assert done.returncode == 2 and b"--save-every needs a resident backend" in done.stderr
    assert not (run / "metrics.jsonl").exists()
