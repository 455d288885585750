"""A backend over ranks of which one dies, fails or hangs: all end at once, clients are told, the run stays whole."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import run_r1
from ranked import TWO, all_gone, end, everything, freeze, kill, processes, serve, socket_of
from residents import batch, home, one_line, records, start_r1, step_of, wait_for

# What a rank runs before our program: its next update hangs, or finds no memory.
TROUBLE = """
import os, pathlib, time
if os.environ.get("RANK") == os.environ["R1_TROUBLED"]:
    import torch
    from r1cli.backend import grpo

    def prepare(*_):
        pathlib.Path(os.environ["R1_MARK"]).touch()
        if os.environ["R1_TROUBLE"] == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        time.sleep(3600)

    grpo.prepare = prepare
"""


@pytest.fixture
def ranked(run):
    """A run of the test's own, nothing of whose backend outlives the test."""
    yield run
    end(run)


def troubled(run: Path, rank: int, what: str) -> dict[int, int]:
    """Starts two ranks one of which gets into trouble at its next update; pids by rank."""
    folder = run.parent / "start"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(TROUBLE)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    mark = str(run.parent / "mark")
    return serve(run, *TWO, env={"PYTHONPATH": path, "R1_TROUBLED": str(rank), "R1_TROUBLE": what, "R1_MARK": mark})


def update(run: Path) -> subprocess.Popen:
    """A client whose update has got into trouble."""
    client = start_r1("grpo-step", stdin=subprocess.PIPE)
    client.stdin.write(batch(run, "--questions", "4", "--group", "4"))
    client.stdin.close()
    client.stdin = None
    wait_for((run.parent / "mark").exists, pause=0.02)
    return client


def last_words(client: subprocess.Popen) -> str:
    """The one line of a client that failed."""
    _, words = client.communicate(timeout=30)
    assert client.returncode == 1 and words.count(b"\n") == 1, words
    return words.decode()


def test_a_rank_killed_while_it_samples(ranked):
    """The client, which has some of its groups already, gets one line; the next backend starts as if nothing were."""
    ranks = serve(ranked, *TWO)
    address = socket_of(ranked)
    freeze(ranks[1])
    client = start_r1("sample", ranked, "--questions", "8")
    assert client.stdout.readline()
    kill(ranks[1])
    words = last_words(client)
    assert f"rank 1 on {socket.gethostname()} died; see {ranked}/serve-rank1.log" in words
    assert "stands at step-000000" in words and f"r1 serve {ranked}" in words
    all_gone(ranked)
    assert not address.exists()
    assert "is gone" in one_line(run_r1("sample", ranked, check=1))
    serve(ranked, *TWO)
    assert len(records(run_r1("sample", ranked, "--questions", "3", check=0).stdout)) == 48
    # As a scheduler does it: SIGTERM to every process at once.
    run_r1("grpo-step", "--save-every", "9", stdin=batch(ranked, "--questions", "2"), check=0)
    for pid in [home(ranked)["pid"], *processes(ranked).values()]:
        os.kill(pid, 15)
    all_gone(ranked)
    assert step_of(ranked) == 1 and not (ranked / "serve.json").exists()


def test_a_rank_killed_in_an_update(ranked):
    """Rank 0 hangs in a collective with it, and still says what has happened."""
    ranks = troubled(ranked, 1, "hang")
    client = update(ranked)
    kill(ranks[1])
    assert f"rank 1 on {socket.gethostname()} died" in last_words(client)
    all_gone(ranked)
    assert step_of(ranked) == 0 and not (ranked / "metrics.jsonl").exists()


def test_rank_0_killed_in_an_update(ranked):
    """The others hang in a collective with it, and end all the same."""
    ranks = troubled(ranked, 0, "hang")
    client = update(ranked)
    kill(ranks[0])
    assert "died in the middle" in last_words(client)
    all_gone(ranked)
    # Rank 1 says so too, unless the launcher ends it first.
    words = (ranked / "serve-rank1.log").read_text()
    assert not words or "rank 0 at 127.0.0.1 is gone" in words
    assert "rank 0 died" in (ranked / "serve.log").read_text().splitlines()[-1]
    assert step_of(ranked) == 0
    assert b"cleared up" in run_r1("serve", ranked, "--stop", check=0).stderr


def test_a_rank_without_memory(ranked):
    """Its own words reach the client, in one line, with the log that has the rest."""
    troubled(ranked, 1, "memory")
    words = last_words(update(ranked))
    assert f"rank 1 on {socket.gethostname()} failed: OutOfMemoryError: CUDA out of memory. Tried to allocate" in words
    all_gone(ranked)
    assert "Traceback" in (ranked / "serve-rank1.log").read_text()
    assert (ranked / "serve.log").read_text().splitlines()[-1].startswith("r1 serve: rank 1 on ")
    assert step_of(ranked) == 0


@pytest.mark.parametrize("whom", ["the one that was started", "the launcher"])
def test_who_holds_the_ranks_is_killed(ranked, whom):
    """No orphans: ranks end with the process that started them, and with their launcher."""
    ranks = serve(ranked, *TWO)
    started = home(ranked)["pid"]
    (launcher,) = set(everything(ranked)) - {started, *ranks.values()}
    kill(started if whom == "the one that was started" else launcher)
    all_gone(ranked)
    assert "is gone" in one_line(run_r1("serve", ranked, "--status", check=1))
