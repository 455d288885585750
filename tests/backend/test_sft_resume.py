"""A training that is killed, and when, goes on as if nothing had been; one that is done is done."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
from conftest import run_r1
from residents import kill_backend, one_line, records, start_r1, step_of, wait_for
from sft_work import sums, training, weights

OPTIONS = ("--epochs", "3", "--batch", "8", "--save-every", "4")
UPDATES = 3 * -(-60 // 8)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    file = tmp_path_factory.mktemp("examples") / "examples.jsonl"
    file.write_bytes(sums(60))
    return file


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, examples):
    """The weights and losses of a training that nothing disturbed."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    done = run_r1("sft", "tiny", examples, "--out", run, *OPTIONS, check=0)
    metrics = records(done.stdout)
    assert [record["update"] for record in metrics] == list(range(1, UPDATES + 1))
    return weights(run), [record["loss"] for record in metrics]


def losses(run):
    """Of all updates that are listed; one that is being written does not count yet."""
    file = run / "metrics.jsonl"
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    return [record["loss"] for record in records(b"".join(line for line in lines if line.endswith(b"\n")))]


def test_kill_9_at_random_moments(tmp_path, examples, undisturbed):
    """Whatever was under way: the same weights to the bit, and metrics.jsonl as if there had been one process."""
    run, dice, kills = tmp_path / "run", random.Random(7), 0
    for _ in range(6):
        process = start_r1("sft", "tiny", examples, "--out", run, *OPTIONS, stdout=subprocess.DEVNULL)
        over, goal = process.poll, len(losses(run)) + dice.randint(1, 6)
        wait_for(lambda over=over, goal=goal: len(losses(run)) >= goal or over() is not None)
        time.sleep(dice.random() * 0.05)  # any moment of an update, or of publishing one
        if process.poll() is None:
            process.kill()
            kills += 1
        process.communicate()
        if process.returncode == 0:
            break
    assert kills >= 3
    done = run_r1("sft", "tiny", examples, "--out", run, *OPTIONS, check=0)
    assert (weights(run), losses(run)) == undisturbed
    assert step_of(run) == UPDATES and not list(run.glob("*.part"))
    # Nothing is left to do: the stored metrics, and no new step.
    again = run_r1("sft", "tiny", examples, "--out", run, *OPTIONS, check=0)
    assert [record["loss"] for record in records(again.stdout)] == undisturbed[1]
    assert b"finished already, at step 24: nothing is left to do" in again.stderr
    assert done.returncode == 0 and step_of(run) == UPDATES


def test_resident_and_local_by_turns(tmp_path, examples, undisturbed):
    """A backend that is killed, a client that goes away, a backend that is stopped: the next one goes on."""
    run = tmp_path / "run"
    run_r1("init", run, "--from", "tiny", check=0)
    command = ("sft", run, examples, *OPTIONS)
    run_r1("serve", run, "--detach", check=0)
    client = start_r1(*command)
    wait_for(lambda: step_of(run) >= 4)
    kill_backend(run)
    client.wait(30)
    assert b"died in the middle of the request" in client.stderr.read()
    run_r1("serve", run, "--detach", check=0)
    client = start_r1(*command)
    first = json.loads(client.stdout.readline())
    assert first["update"] in (5, 9, 13)  # after a saved step
    # A sample is answered between two updates, while the training goes on.
    assert len(run_r1("sample", run, "--questions", "1", "--group", "2", check=0).stdout.splitlines()) == 2
    client.kill()
    client.communicate()
    wait_for(lambda: b"a client went away" in (run / "serve.log").read_bytes())
    reached = step_of(run)  # saved, though --save-every says 4
    assert training(run)["updates"] == reached
    run_r1("serve", run, "--stop", check=0)
    done = run_r1(*command, check=0)
    assert f"goes on after update {reached} of {UPDATES}" in done.stderr.decode() or reached == UPDATES
    assert (weights(run), losses(run)) == undisturbed
    run_r1("serve", run, "--detach", check=0)
    again = run_r1(*command, check=0)
    run_r1("serve", run, "--stop", check=0)
    assert [record["loss"] for record in records(again.stdout)] == undisturbed[1]


def test_a_reader_that_goes_away_costs_nothing(tmp_path, examples, undisturbed):
    """`| head -3` ends the training quietly, saved where it was; Ctrl-C goes back to the last saved step."""
    run = tmp_path / "run"
    process = start_r1("sft", "tiny", examples, "--out", run, *OPTIONS)
    for _ in range(3):
        process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert training(run)["updates"] == step_of(run) >= 3
    process = start_r1("sft", "tiny", examples, "--out", run, *OPTIONS)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    run_r1("sft", "tiny", examples, "--out", run, *OPTIONS, check=0)
    assert (weights(run), losses(run)) == undisturbed


def cut_short(run, examples, *options):
    """A training of the run that is in the middle of an epoch."""
    process = start_r1("sft", run, examples, *options)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert 0 < training(run)["updates"] < UPDATES and not training(run)["finished"]


def test_another_training_in_the_middle_of_one(run, tmp_path, examples):
    """Refused in one line that says what differs and what to do; --restart begins anew from the weights as they are."""
    cut_short(run, examples, *OPTIONS)
    before = weights(run)
    other = tmp_path / "other.jsonl"
    other.write_bytes(sums(60, seed=2))
    for words, *command in (
        ("on other examples", other, *OPTIONS),
        ("lr 0.001, now 0.0005", examples, *OPTIONS, "--lr", "5e-4"),
    ):
        done = run_r1("sft", run, *command)
        assert done.returncode == 2 and words in done.stderr.decode() and "--restart" in one_line(done)
        assert weights(run) == before
    # How much is computed at once, and when it is saved, are no other training.
    updates, reached = training(run)["updates"], step_of(run)
    done = run_r1("sft", run, examples, *OPTIONS[:4], "--micro-tokens", "500", check=0)
    assert records(done.stdout)[0]["update"] == updates + 1
    assert step_of(run) == UPDATES == reached + len(records(done.stdout))
    done = run_r1("sft", run, other, "--epochs", "1", check=0)  # it is done: the next stage may begin
    assert records(done.stdout)[0]["step"] == UPDATES + 1
    assert b"a new training, on top of step 24 (the last: on other examples)" in done.stderr
    # And both are remembered: a script that is run again trains neither of them twice.
    for command in ((examples, *OPTIONS), (other, "--epochs", "1")):
        again = run_r1("sft", run, *command, check=0)
        assert b"finished already" in again.stderr and len(records(again.stdout)) in (UPDATES, 2)


def test_reinforcement_learning_after_and_in_between(run, examples):
    """What sft has made is the KL reference; a grpo-step in the middle of one is not trained over in silence."""
    cut_short(run, examples, *OPTIONS)
    rewarded = run_r1("reward", "--format", stdin=run_r1("sample", run, "--questions", "2", check=0).stdout, check=0)
    run_r1("grpo-step", stdin=rewarded.stdout, check=0)
    done = run_r1("sft", run, examples, *OPTIONS)
    assert done.returncode == 2 and "has been trained otherwise since" in one_line(done)
    done = run_r1("sft", run, examples, *OPTIONS, "--restart", check=0)
    last = records(done.stdout)[-1]
    assert os.readlink(run / "reference") == os.readlink(run / "latest") == f"step-{last['step']:06d}"
    stale = run_r1("grpo-step", "--lr", "0.1", stdin=rewarded.stdout)  # applied before: the stored metrics, or stale
    assert stale.returncode in (0, 2) and step_of(run) == last["step"]
    rewarded = run_r1("reward", "--format", stdin=run_r1("sample", run, "--questions", "2", check=0).stdout, check=0)
    update = json.loads(run_r1("grpo-step", "--kl", "0.1", stdin=rewarded.stdout, check=0).stdout)
    assert update["kl"] == pytest.approx(0, abs=1e-6) and update["iteration"] == last["iteration"] + 1
