"""A backend over several ranks does what one process does: samples, updates, numbers of ranks, start and stop."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import run_r1
from ranked import SETTINGS, TWO, all_gone, alone, end, everything, freeze, ids, kill, serve, socket_of, unread
from residents import batch, fingerprint, judge, one_line, records, start_r1, status, step_of, wait_for
from safetensors.torch import load_file

ODD = ("--questions", "5", "--group", "6")  # neither groups nor samples divide by two or three
ASKED = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]
EVAL = ("-k", "4", "--questions", "9")
KEYS = ("loss", "grad_norm", "reward", "kl", "entropy", "ratio_max", "tokens", "zero_variance")


@pytest.fixture
def pair(tmp_path):
    """Two equal runs, one for ranks and one for a single process."""
    found = tmp_path / "ranks", tmp_path / "alone"
    for run in found:
        run_r1("init", run, "--from", "tiny", "--seed", "3", check=0)
    yield found
    for each in found:
        end(each)


def iterate(run: Path) -> tuple[list[dict], dict]:
    """One iteration by the commands: rollouts and metrics."""
    sampled = run_r1("sample", run, *ODD, check=0).stdout
    (metrics,) = records(run_r1("grpo-step", *ASKED, stdin=judge(sampled), check=0).stdout)
    return records(sampled), metrics


def answers(run: Path) -> dict[tuple, str]:
    """What an evaluation has sampled, by question and place in its group."""
    items = records((run / "items.jsonl").read_bytes())
    return {(each["id"], each["group"]["index"]): each["completion"] for each in items}


def same(run: Path, other: Path) -> None:
    """Both runs stand at the same place, with weights and moments of almost equal values that are not the base's."""
    mine, theirs = fingerprint(run), fingerprint(other)
    assert {key: mine[key] for key in ("step", "iteration", "cursor")} == {
        key: theirs[key] for key in ("step", "iteration", "cursor")
    }
    for file, bound in (("master", 1e-5), ("optimizer", 1e-3)):
        found, expected = (load_file(each / "latest" / "trainer" / f"{file}.safetensors") for each in (run, other))
        assert found.keys() == expected.keys()
        for name, value in found.items():
            assert (value - expected[name]).norm() <= bound * expected[name].norm() + 1e-12, name
    base = load_file(run / "step-000000" / "model.safetensors")
    moved = load_file(run / "latest" / "trainer" / "master.safetensors")
    assert all((moved[name] - base[name].float()).abs().max() > 1e-4 for name in base)


def test_ranks_do_what_one_process_does(pair):
    """Two ranks, then three, then one: equal samples, metrics and weights; and what people see of it on the way."""
    run, other = pair
    ranks = serve(run, *TWO)
    assert sorted(ranks) == [0, 1] and len(everything(run)) == 4  # with the launcher and what started it
    now = status(run)
    assert (now["ranks"], now["trainer"], now["zero"], now["device"]) == (2, "deepspeed", 2, "cpu")
    address = socket_of(run)
    for _ in range(3):
        (mine, found), (theirs, expected) = iterate(run), alone(other, questions=5, group=6)
        assert ids(mine) == ids(theirs)
        for key in KEYS:
            assert found[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-6), key
        assert found["logprob_gap_max"] < 1e-4  # the sampler of every rank has the weights of the trainer
    same(run, other)

    # Rank 1 has a share of the samples: without it they are not complete. Who goes away takes nothing with it.
    freeze(ranks[1])
    client = start_r1("sample", run, "--questions", "8")
    wait_for(lambda: status(run)["sampling"], pause=0.02)
    first = client.stdout.readline()
    assert first and status(run)["sampling"] == 1
    client.kill()
    client.wait()
    wait_for(lambda: not status(run)["sampling"], pause=0.02)
    os.kill(ranks[1], signal.SIGCONT)

    # An evaluation that is under way while the weights move ends with those it began with, on every rank.
    judged = batch(run, *ODD)
    freeze(ranks[1])
    client = start_r1("eval", run, *EVAL, "--items", run / "items.jsonl")
    wait_for(lambda: status(run)["sampling"], pause=0.02)
    before = unread(ranks[1])
    trainer = start_r1("grpo-step", "--save-every", "9", *ASKED, stdin=subprocess.PIPE)
    trainer.stdin.write(judged)
    trainer.stdin.close()
    wait_for(lambda: unread(ranks[1]) > before + len(judged) // 4, pause=0.05)  # the update has been called
    os.kill(ranks[1], signal.SIGCONT)
    assert trainer.wait(60) == 0 and client.wait(60) == 0
    assert (step_of(run), status(run)["unsaved"]) == (3, 1)
    run_r1("eval", other, *EVAL, "--items", other / "items.jsonl", check=0)
    assert answers(run) == answers(other) and len(answers(run)) == 36
    alone(other, questions=5, group=6)
    assert b"stands at step-000004" in run_r1("serve", run, "--stop", check=0).stderr
    all_gone(run)
    assert not (run / "serve.json").exists() and not address.exists()
    assert "stopped at step 4" in (run / "serve.log").read_text()
    assert (run / "serve-rank1.log").read_text() == ""
    same(run, other)

    # From where they stopped, on three ranks; a rank that is killed while all are idle ends them.
    ranks = serve(run, "--gpus", "3", "--device", "cpu", "--zero", "3")
    assert (status(run)["ranks"], status(run)["zero"]) == (3, 3)
    (mine, _), (theirs, _) = iterate(run), alone(other, questions=5, group=6)
    assert ids(mine) == ids(theirs)
    same(run, other)
    kill(ranks[2])
    all_gone(run)
    words = (run / "serve.log").read_text().splitlines()[-1]
    assert "rank 2 on " in words and "died; see " in words and "serve-rank2.log" in words and "step-000005" in words
    assert "is gone" in one_line(run_r1("sample", run, check=1))

    # And in one process, which is DeepSpeed's if it is asked for.
    run_r1("serve", run, "--trainer", "deepspeed", "--offload", "optimizer", "--detach", check=0)
    assert (status(run)["ranks"], status(run)["trainer"]) == (1, "deepspeed")
    (mine, _), (theirs, _) = iterate(run), alone(other, questions=5, group=6)
    run_r1("serve", run, "--stop", check=0)
    assert ids(mine) == ids(theirs) and step_of(run) == 6
    same(run, other)
