"""Interrupted runs: whatever is killed, and when, the run goes on from its last saved step as if nothing had been."""

import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import orjson
import pytest
from conftest import ENVIRONMENT, R1, run_r1
from residents import (
    batch,
    fingerprint,
    home,
    judge,
    kill_backend,
    one_line,
    records,
    start_r1,
    status,
    step_of,
    wait_for,
)

# A KL term and a reference that moves every second update, so that they have to be resumed too.
TRAIN = ("grpo-step", "--kl", "0.05", "--refresh-reference", "2")
SMALL = ("--questions", "2", "--group", "4")


def steps_listed(run: Path) -> list[int]:
    """The steps that metrics.jsonl lists."""
    path = run / "metrics.jsonl"
    return [record["step"] for record in records(path.read_bytes())] if path.exists() else []


def check_consistent(run: Path) -> int:
    """After the next writer has opened the run: its step, with metrics.jsonl and the folders in agreement."""
    from r1cli.runs import Run

    opened = Run.open(run)
    with opened.lock():
        step = opened.state().step
    assert steps_listed(run) == list(range(1, step + 1))
    assert opened.steps()[-1] == step == step_of(run)
    return step


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> list[dict]:
    """The fingerprints after each of four iterations of a run that nothing disturbed, and its questions."""
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    run_r1("init", run, "--from", "tiny", check=0)
    run_r1("serve", run, "--detach", check=0)
    found = []
    for _ in range(4):
        rewarded = batch(run)
        run_r1(*TRAIN, stdin=rewarded, check=0)
        found.append({**fingerprint(run), "questions": sorted({r["prompt"] for r in records(rewarded)})})
    run_r1("serve", run, "--stop", check=0)
    return found


def compare(run: Path, rewarded: bytes, expected: dict) -> None:
    """The run's state on disk is the undisturbed one's, bit for bit, and so were its questions."""
    questions = sorted({record["prompt"] for record in records(rewarded)})
    assert {**fingerprint(run), "questions": questions} == expected


# Where a writer may be killed: what is on the disk at that moment.
MOMENTS = {
    "folder begun": lambda run, step: (run / f"step-{step:06d}.part").exists(),
    "optimizer written": lambda run, step: (run / f"step-{step:06d}.part/trainer/optimizer.json").exists(),
    "state written": lambda run, step: (run / f"step-{step:06d}.part/trainer/state.json").exists(),
    "renamed": lambda run, step: (run / f"step-{step:06d}").exists(),
    "published": lambda run, step: step_of(run) == step,
}


def test_a_run_killed_again_and_again_ends_bit_identical(run, uninterrupted):
    """Local and resident by turns, kill -9 in the middle of iterations: same weights, moments, questions."""
    # 1: local, killed while it writes
    rewarded = batch(run)
    kill_local(run, rewarded, "folder begun", 1)
    check_consistent(run)
    run_r1(*TRAIN, stdin=rewarded, check=0)
    compare(run, rewarded, uninterrupted[0])
    # 2: resident, the backend killed in the middle of sampling and in the middle of publishing
    run_r1("serve", run, "--detach", check=0)
    client = start_r1("sample", run, "--questions", "200")  # long enough to be seen at it
    wait_for(lambda: status(run)["sampling"])
    kill_backend(run)
    client.communicate()
    assert check_consistent(run) == 1
    run_r1("serve", run, "--detach", check=0)
    rewarded = batch(run)
    client = start_r1(*TRAIN, stdin=subprocess.PIPE)
    client.stdin.write(rewarded)
    client.stdin.close()
    client.stdin = None
    wait_for(lambda: MOMENTS["optimizer written"](run, 2))
    kill_backend(run)
    client.communicate(timeout=30)
    check_consistent(run)
    run_r1("serve", run, "--detach", check=0)
    run_r1(*TRAIN, stdin=rewarded, check=0)
    compare(run, rewarded, uninterrupted[1])
    # 3: the same backend goes on; 4: after its death, local
    rewarded = batch(run)
    run_r1(*TRAIN, stdin=rewarded, check=0)
    compare(run, rewarded, uninterrupted[2])
    kill_backend(run)
    run_r1("serve", run, "--stop", check=0)
    rewarded = batch(run)
    run_r1(*TRAIN, stdin=rewarded, check=0)
    compare(run, rewarded, uninterrupted[3])
    # and back: a history that was rolled back is made anew, the same
    run_r1("rollback", run, "--to", "3", check=0)
    assert steps_listed(run) == [1, 2, 3]
    run_r1("serve", run, "--detach", check=0)
    again = batch(run)
    run_r1(*TRAIN, stdin=again, check=0)
    run_r1("serve", run, "--stop", check=0)
    compare(run, again, uninterrupted[3])


def kill_local(run: Path, rewarded: bytes, moment: str, step: int) -> None:
    """Runs a local grpo-step and kills it -9 at the moment."""
    writer = start_r1(*TRAIN, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    writer.stdin.write(rewarded)
    writer.stdin.close()
    wait_for(lambda: MOMENTS[moment](run, step) or writer.poll() is not None)
    writer.kill()
    writer.wait()


def test_kill_9_of_a_local_writer_leaves_a_whole_step(run):
    """At any moment of publishing: the latest step is whole, metrics agree, and the retry applies the batch once."""
    rewarded = batch(run, *SMALL)
    for moment in MOMENTS:
        kill_local(run, rewarded, moment, 1)
        if check_consistent(run) == 1:
            run_r1("rollback", run, "--to", "0", check=0)
    done = run_r1(*TRAIN, stdin=rewarded, check=0)
    assert [record["step"] for record in records(done.stdout)] == [1]
    assert check_consistent(run) == 1


def test_a_retry_after_a_crash_between_publish_and_answer_trains_nothing(run):
    """The client saw the backend die, the step was there: the same batch gives its metrics and changes nothing."""
    run_r1("serve", run, "--detach", check=0)
    rewarded = batch(run, *SMALL)
    os.kill(home(run)["pid"], signal.SIGSTOP)
    client = start_r1(*TRAIN, stdin=subprocess.PIPE)
    client.stdin.write(rewarded)
    client.stdin.close()
    client.stdin = None
    os.kill(home(run)["pid"], signal.SIGCONT)
    wait_for(lambda: step_of(run) == 1)
    kill_backend(run)
    client.communicate(timeout=30)
    before = fingerprint(run)
    run_r1("serve", run, "--detach", check=0)
    for _ in range(2):
        done = run_r1(*TRAIN, stdin=rewarded, check=0)
        assert records(done.stdout)[0]["step"] == 1 and b"applied already" in done.stderr
    assert fingerprint(run) == before and status(run)["iteration"] == 1
    assert steps_listed(run) == [1]
    run_r1("serve", run, "--stop", check=0)


def test_save_every_3_goes_back_to_the_last_saved_step(run):
    """What a crash takes is kept aside in the metrics, and rollouts of it are refused instead of trained on."""
    every = ("grpo-step", "--save-every", "3")
    run_r1("serve", run, "--detach", check=0)
    saved = []
    for _ in range(4):
        done = run_r1(*every, stdin=batch(run, *SMALL), check=0)
        saved += [record["saved"] for record in records(done.stdout)]
    assert saved == [False, False, True, False] and step_of(run) == 3
    assert steps_listed(run) == [1, 2, 3, 4]
    lost = batch(run, *SMALL)
    kill_backend(run)
    run_r1("serve", run, "--detach", check=0)
    assert status(run)["step"] == 3
    assert steps_listed(run) == [1, 2, 3]
    assert [record["step"] for record in records((run / "metrics.lost.jsonl").read_bytes())] == [4]
    words = one_line(run_r1(*every, stdin=lost, check=2))
    assert "history that this run has left" in words and "iteration 3" in words and "sample again" in words
    for step in (4, 5, 6):
        done = run_r1(*every, stdin=batch(run, *SMALL), check=0)
        assert records(done.stdout)[0]["step"] == step
    assert step_of(run) == 6 and steps_listed(run) == [1, 2, 3, 4, 5, 6]
    run_r1("serve", run, "--stop", check=0)


def test_references_and_steps_kept_through_the_commands(run):
    """--keep bounds the folders, --refresh-reference forces a save, and the references stay."""
    run_r1("serve", run, "--detach", check=0)
    train = ("grpo-step", "--keep", "1", "--refresh-reference", "3", "--save-every", "100", "--minibatches", "2")
    for _ in range(4):
        run_r1(*train, stdin=batch(run, *SMALL), check=0)
    # Two updates a batch: the third update is passed within the second iteration, the sixth ends the third.
    assert sorted(path.name for path in run.glob("step-*")) == ["step-000000", "step-000004", "step-000006"]
    assert os.readlink(run / "reference") == "step-000006"
    run_r1("serve", run, "--stop", check=0)
    assert step_of(run) == 8 and (run / "step-000004").is_dir()


def test_a_full_disk_is_one_line_and_the_next_try_succeeds_locally(run):
    """A local update that can't be saved leaves the run as it was."""
    rewarded = batch(run, *SMALL)
    limited = subprocess.run(
        [*R1, "grpo-step"], input=rewarded, capture_output=True, env=ENVIRONMENT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (800_000, 800_000)),
    )  # fmt: skip
    assert limited.returncode == 1 and limited.stdout == b""
    words = one_line(limited)
    assert "step 1 could not be saved" in words and "stands at step-000000" in words
    assert check_consistent(run) == 0 and not list(run.glob("*.part"))
    assert records(run_r1("grpo-step", stdin=rewarded, check=0).stdout)[0]["step"] == 1


@pytest.mark.parametrize("room", [800_000, 1_500_000, 20], ids=["master", "optimizer", "metrics"])
def test_a_full_disk_does_not_end_a_backend(run, room):
    """The update stays in memory; the same batch again saves it, trains nothing twice, and loses no metrics."""
    run_r1("serve", run, "--detach", check=0)
    pid, rewarded = home(run)["pid"], batch(run, *SMALL)
    if room == 20:  # everything is saved but the line about it
        (run / "metrics.jsonl").symlink_to("/dev/full")
    else:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    words = one_line(run_r1("grpo-step", stdin=rewarded, check=1))
    assert ("metrics.jsonl" if room == 20 else "stands at step-000000") in words
    assert step_of(run) == int(room == 20) and status(run)["pid"] == pid
    if room == 20:
        (run / "metrics.jsonl").unlink()
    else:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    done = run_r1("grpo-step", stdin=rewarded, check=0)
    assert records(done.stdout)[0]["step"] == 1 == step_of(run) and b"applied already" in done.stderr
    assert steps_listed(run) == [1]
    run_r1("grpo-step", stdin=batch(run, *SMALL), check=0)
    run_r1("serve", run, "--stop", check=0)
    assert check_consistent(run) == 2


def test_a_stop_that_could_not_save_says_so(run):
    """Work that is lost with a full disk is never reported as a good end."""
    run_r1("serve", run, "--detach", check=0)
    run_r1("grpo-step", "--save-every", "5", stdin=batch(run, *SMALL), check=0)
    resource.prlimit(home(run)["pid"], resource.RLIMIT_FSIZE, (800_000, resource.RLIM_INFINITY))
    words = one_line(run_r1("serve", run, "--stop", check=1))
    assert "without saving step 1" in words and "stands at step-000000" in words
    assert b"could not be saved" in (run / "serve.log").read_bytes()
    assert check_consistent(run) == 0 and not (run / "serve.json").exists()


def test_a_reference_that_met_a_full_disk_is_saved_before_it_is_used(run):
    """The reference moves to a step that could not be written: the next update must not look for it in vain."""
    run_r1("serve", run, "--detach", check=0)
    pid, train = home(run)["pid"], ("grpo-step", "--kl", "0.1", "--refresh-reference", "1")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (800_000, resource.RLIM_INFINITY))
    one_line(run_r1(*train, stdin=batch(run, *SMALL), check=1))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    done = run_r1(*train, stdin=batch(run, *SMALL), check=0)
    assert records(done.stdout)[0]["step"] == 2
    run_r1("serve", run, "--stop", check=0)
    assert check_consistent(run) == 2


def test_local_and_resident_are_the_same_to_the_byte(run, tmp_path):
    """Where the engine lives changes neither a byte of the rollouts nor a bit of the weights."""
    copy = tmp_path / "copy"
    here = run_r1("sample", run, check=0).stdout
    subprocess.run(["cp", "-a", run, copy], check=True)
    run_r1(*TRAIN, stdin=judge(here), check=0)
    shuffled = judge(here).splitlines()[::-1]
    run_r1("serve", copy, "--detach", check=0)
    there = run_r1("sample", copy, check=0).stdout
    assert there.replace(str(copy).encode(), str(run).encode()) == here
    run_r1(*TRAIN, "--run", copy, stdin=b"\n".join(shuffled), check=0)
    run_r1("serve", copy, "--stop", check=0)
    assert fingerprint(run) == fingerprint(copy)
    states = [orjson.loads((path / "latest/trainer/state.json").read_bytes()) for path in (run, copy)]
    assert states[0]["version"] == states[1]["version"]
    assert json.loads((run / "run.json").read_text())["run"] == json.loads((copy / "run.json").read_text())["run"]
