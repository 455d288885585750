"""Several machines behind one backend, played by names of this one: rendezvous, hostfile, and what they refuse."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import run_r1
from ranked import SETTINGS, all_gone, alone, end, everything, ids, kill, marked, processes
from residents import judge, records, start_r1, status, step_of, wait_for

ASKED = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]

# Runs the command once for each host, here, as pdsh does it there; only what DeepSpeed's runner uses of it. Its kill
# command, which would look for processes by a pattern, is only written down.
PDSH = """#!{python}
import subprocess, sys
words = sys.argv[1:]
hosts = words[words.index("-w") + 1].split(",")
rest = words[words.index("-w") + 2:]
with open({log!r}, "a") as log:
    print(hosts, *rest, file=log)
if rest[0].startswith("pkill"):
    sys.exit()
started = [
    subprocess.Popen(["sh", "-c", " ".join(rest).replace("%n", str(number))], stdin=subprocess.DEVNULL)
    for number, _ in enumerate(hosts)
]
sys.exit(max([process.wait() for process in started]))
"""


@pytest.fixture
def ranked(run):
    """A run of the test's own, nothing of whose backend outlives the test."""
    yield run
    end(run)


def free_port() -> int:
    """A port below those that the system gives away by itself."""
    return random.SystemRandom().randrange(20000, 32000)


def node(run: Path, number: int, port: int, *more: str) -> tuple[str, ...]:
    """The arguments of one of two nodes with a rank each."""
    meet = ("--nnodes", "2", "--node-rank", str(number), "--rendezvous", f"127.0.0.1:{port}")
    return ("serve", str(run), *meet, *more)


def test_two_nodes_meet_work_and_end_together(ranked, tmp_path):
    """Nodes started apart, in either order; three groups between two ranks; one that is lost ends the other."""
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", ranked, other], check=True)
    port, environment = free_port(), {**os.environ, "OMP_NUM_THREADS": "1", **marked(ranked)}
    second = start_r1(*node(ranked, 1, port), env=environment)
    run_r1(*node(ranked, 0, port, "--device", "cpu", "--zero", "1", "--detach"), check=0, env=marked(ranked))
    assert sorted(processes(ranked)) == [0, 1] and len(everything(ranked)) == 6
    assert (status(ranked)["ranks"], status(ranked)["zero"]) == (2, 1)
    sampled = run_r1("sample", ranked, "--questions", "3", "--group", "5", check=0).stdout
    (metrics,) = records(run_r1("grpo-step", "--save-every", "9", *ASKED, stdin=judge(sampled), check=0).stdout)
    expected, theirs = alone(other, questions=3, group=5)
    assert ids(records(sampled)) == ids(expected)
    assert metrics["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)

    # SIGTERM on either node: the step is saved once, all end well.
    second.send_signal(signal.SIGTERM)
    out, words = second.communicate(timeout=60)
    assert (second.returncode, out) == (0, b""), words
    all_gone(ranked)
    assert step_of(ranked) == 1 and not list(ranked.glob("serve*.json"))

    # Both in the background; node 1 is killed.
    port = free_port()
    first = start_r1(*node(ranked, 0, port), env=environment)
    done = run_r1(*node(ranked, 1, port, "--detach"), check=0, env=marked(ranked))
    (pid,) = map(int, re.findall(rb"node 1 takes part .* \(process (\d+)\)", done.stderr))
    wait_for((ranked / "serve.json").exists, pause=0.05)
    kill(pid)
    _, words = first.communicate(timeout=60)
    assert first.returncode == 1
    last = words.decode().splitlines()[-1]
    assert f"rank 1 on {socket.gethostname()} died" in last and "step-000001" in last
    all_gone(ranked)


def test_nodes_that_do_not_fit_together_say_so(ranked, tmp_path):
    """Another folder, other options, another number of ranks: one line on both nodes, and nothing is left."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **marked(ranked)}
    for more, expected in (
        (("--zero", "3"), "--zero 3 here, 1 on node 0, whose options count on all nodes"),
        (("--gpus", "2"), "started as one of 4 ranks, rank 0 as one of 2"),
    ):
        port = free_port()
        nodes = [
            start_r1(*node(ranked, 0, port, "--device", "cpu", "--zero", "1"), env=environment),
            start_r1(*node(ranked, 1, port, "--device", "cpu", *more), env=environment),
        ]
        for each in nodes:
            _, words = each.communicate(timeout=60)
            said = words.decode().splitlines()
            assert each.returncode in (1, 2) and expected in said[-1] and len(said) == 1, words
        all_gone(ranked)


def test_a_hostfile_starts_all_machines_through_deepspeeds_runner(ranked, tmp_path):
    """The runner takes our command and starts two hosts with three ranks; SIGTERM in the foreground saves and ends."""
    tools, log = tmp_path / "tools", tmp_path / "pdsh.log"
    tools.mkdir()
    (tools / "pdsh").write_text(PDSH.format(python=sys.executable, log=str(log)))
    (tools / "ssh").write_text("#!/bin/sh\necho 127.0.0.1\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    hosts = tmp_path / "hostfile"
    hosts.write_text("# head\n127.0.0.1 slots=1\n\n127.0.0.2 slots=2\n")
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", **marked(ranked), "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    server = start_r1("serve", ranked, "--hostfile", hosts, "--device", "cpu", env=environment)
    wait_for(lambda: (ranked / "serve.json").exists() or server.poll() is not None, pause=0.05)
    assert server.poll() is None, server.stderr.read()
    assert sorted(processes(ranked)) == [0, 1, 2] and status(ranked)["ranks"] == 3
    assert "['127.0.0.1', '127.0.0.2']" in log.read_text() and "--node_rank=%n" in log.read_text()
    sampled = run_r1("sample", ranked, "--questions", "4", "--group", "4", check=0).stdout
    run_r1("grpo-step", "--save-every", "9", stdin=judge(sampled), check=0)
    server.send_signal(signal.SIGTERM)
    out, words = server.communicate(timeout=60)
    assert (server.returncode, out) == (0, b""), words
    all_gone(ranked)
    assert step_of(ranked) == 1 and (ranked / "serve-rank2.log").exists()
