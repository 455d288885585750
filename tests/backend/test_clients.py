"""Clients of one resident backend: slow ones, those that leave, several at once, strangers. Real processes, sockets."""

import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading

import pytest
from conftest import ENVIRONMENT, R1, run_r1, shell
from residents import batch, home, judge, one_line, records, start_r1, status, step_of, wait_for

from r1cli.backend.connection import Connection, Spool
from r1cli.backend.protocol import END, decode, encode

MANY = ("--questions", "64", "--group", "64")  # 4096 rollouts: far more than a socket and a pipe hold
ONE_PROMPT = b'{"id":"one","prompt":"Add the digits: 3 4"}\n'


@pytest.fixture
def resident(run):
    """A run of the test's own with a backend, which is stopped however the test ends."""
    run_r1("serve", run, "--detach", check=0)
    yield run
    run_r1("serve", run, "--stop", check=0)


def test_a_slow_reader_holds_nobody_up(served):
    """The backend spools what a reader does not take: others sample and update meanwhile, and nothing is lost."""
    before = status(served)["iteration"]
    slow = start_r1("sample", served, *MANY)
    first = slow.stdout.readline()
    wait_for(lambda: status(served)["sampling"] == 0, pause=0.1)
    metrics = run_r1("grpo-step", stdin=batch(served), check=0)
    assert records(metrics.stdout)[0]["iteration"] == before + 1
    rest, words = slow.communicate(timeout=60)
    rollouts = records(first + rest)
    assert slow.returncode == 0 and words == b""
    assert len({(r["group"]["id"], r["group"]["index"]) for r in rollouts}) == len(rollouts) == 4096
    assert {r["policy"]["iteration"] for r in rollouts} == {before}


def test_a_reader_that_leaves_cancels_its_request(served):
    """head -1 must not leave the backend computing for nobody, nor be told off."""
    done = shell(
        f'r1 sample "{served}" --questions 400 --group 64 | head -1 | wc -l; echo "${{PIPESTATUS[@]}}"', cwd=served
    )
    assert done.stdout.split() == ["1", "0", "0", "0"] and done.stderr == ""
    wait_for(lambda: status(served)["sampling"] == 0, seconds=10, pause=0.05)
    assert len(records(run_r1("sample", served, check=0).stdout)) == 128


def test_two_clients_at_once_get_what_is_theirs(served):
    """Requests share one batch of the engine, but no record and no random number."""
    plans = [("--seed", "1", "--questions", "20"), ("--seed", "2", "--group", "40")]
    alone = [records(run_r1("sample", served, *plan, check=0).stdout) for plan in plans]
    together = [start_r1("sample", served, *plan) for plan in plans]
    for client, expected in zip(together, alone, strict=True):
        found = records(client.communicate(timeout=60)[0])
        assert client.returncode == 0

        def contents(rollouts):
            return sorted((r["group"]["id"], r["group"]["index"], r["completion"]) for r in rollouts)

        assert contents(found) == contents(expected)


JUDGE = """
import json, subprocess, sys
run = sys.argv[1]
for line in sys.stdin:
    record = json.loads(line)
    prompt = json.dumps({"id": "judge", "prompt": "Add the digits: 1 2"}).encode()
    command = [sys.executable, "-m", "r1cli", "sample", run, "-", "--group", "1", "--max-tokens", "8"]
    done = subprocess.run(command, input=prompt, capture_output=True, check=True)
    verdict = json.loads(done.stdout)
    record["reward"] = len(verdict["completion_ids"]) % 3 + len(record["completion_ids"]) % 2
    print(json.dumps(record), flush=True)
"""


def test_a_judge_on_the_same_backend_in_the_same_pipe(served, tmp_path):
    """sample | judge | grpo-step, all on one backend: no deadlock, no lost record."""
    (tmp_path / "judge.py").write_text(JUDGE)
    before = status(served)["iteration"]
    done = shell(
        f'r1 sample "{served}" --questions 3 --group 4 | "{sys.executable}" judge.py "{served}" | tee judged.jsonl |'
        ' r1 grpo-step; echo "${PIPESTATUS[@]}"',
        cwd=tmp_path,
    )
    metrics, codes = done.stdout.splitlines()
    assert codes == "0 0 0 0", done.stderr
    assert json.loads(metrics)["iteration"] == before + 1
    assert len(records((tmp_path / "judged.jsonl").read_bytes())) == 12


def test_a_client_killed_before_its_update_cancels_it(served):
    """A batch that arrived in part, or waits in the queue, dies with its client."""
    before, rewarded = status(served)["iteration"], batch(served)
    half = start_r1("grpo-step", stdin=subprocess.PIPE)
    half.stdin.write(rewarded[: len(rewarded) // 2])
    half.stdin.flush()
    busy = start_r1("sample", served, *MANY, stdout=subprocess.DEVNULL)
    wait_for(lambda: status(served)["sampling"], pause=0.02)
    whole = start_r1("grpo-step", stdin=subprocess.PIPE)
    whole.stdin.write(rewarded)
    whole.stdin.close()
    wait_for(lambda: status(served)["waiting"], pause=0.02)
    assert busy.poll() is None, "the backend was not busy long enough for this test to mean anything"
    for client in (half, whole):
        client.kill()
        client.wait()
    assert busy.wait(60) == 0
    now = status(served)
    assert (now["iteration"], now["waiting"]) == (before, 0)
    assert records(run_r1("grpo-step", stdin=rewarded, check=0).stdout)[0]["iteration"] == before + 1


def test_a_client_killed_after_the_first_optimizer_update_loses_nothing(resident):
    """From then on the weights have moved, so the iteration is finished and committed."""
    client = start_r1("grpo-step", "--epochs", "20", stdin=subprocess.PIPE)
    rewarded = batch(resident)
    client.stdin.write(rewarded)
    client.stdin.close()
    wait_for(lambda: status(resident)["updating"])
    client.kill()
    client.wait()
    wait_for(lambda: not status(resident)["updating"], pause=0.05)
    now = status(resident)
    assert (now["iteration"], now["step"], step_of(resident)) == (1, 20, 20)
    again = run_r1("grpo-step", "--epochs", "20", stdin=rewarded, check=0)
    assert [r["step"] for r in records(again.stdout)] == list(range(1, 21))


def test_an_update_that_fails_half_way_goes_back_to_the_saved_step(resident):
    """Weights that moved with half an iteration belong to no step: the next rollouts come from the saved one."""
    before = run_r1("sample", resident, "--questions", "2", check=0).stdout
    rewarded = batch(resident)
    failed = run_r1("grpo-step", "--minibatches", "2", "--lr", "1e30", "--warmup-steps", "0", stdin=rewarded, check=1)
    assert "finite" in one_line(failed)
    assert status(resident)["step"] == step_of(resident) == 0
    assert run_r1("sample", resident, "--questions", "2", check=0).stdout == before
    assert records(run_r1("grpo-step", stdin=rewarded, check=0).stdout)[0]["step"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"rewards": {"accuracy": "good"}},
        {"rewards": ["good"]},
        {"completion_ids": [5, 10**6], "logprobs": [0.0, 0.0]},
        {"completion": 7, "finish": "never"},
    ],
    ids=["reward term", "reward list", "token", "finish"],
)
def test_odd_records_never_stop_a_backend(served, change):
    """What one client sends can't end the service for the others, and is refused before a weight moves."""
    before, lines = status(served), batch(served).splitlines()
    lines[3] = json.dumps({**json.loads(lines[3]), **change}).encode()
    one_line(run_r1("grpo-step", stdin=b"\n".join(lines), check=2))
    now = status(served)
    assert (now["pid"], now["step"]) == (before["pid"], before["step"])


def test_a_line_of_the_protocol_among_the_records_is_refused(served):
    """A record can't end the request early, which would drop the rest of the input without a word."""
    lines = batch(served).splitlines()
    done = run_r1("grpo-step", stdin=b"\n".join([*lines[:-1], b'{"r1_end":true}', lines[-1]]), check=2)
    assert f"stdin:{len(lines)}" in one_line(done)


def test_an_evaluation_keeps_the_weights_it_began_with(resident):
    """eval yields to an update and goes on as if there had been none."""
    plan = ("eval", resident, "--questions", "100", "-k", "16")
    rewarded = batch(resident)
    expected = run_r1(*plan, check=0).stdout
    evaluation = start_r1(*plan)
    wait_for(lambda: status(resident)["sampling"], pause=0.02)
    run_r1("grpo-step", "--lr", "0.003", "--warmup-steps", "0", stdin=rewarded, check=0)
    assert evaluation.poll() is None, "the update came too late for this test to mean anything"
    later = start_r1(*plan)  # has to wait for the older one's weights to be free, and then uses the new ones
    found, _ = evaluation.communicate(timeout=60)
    assert evaluation.returncode == 0
    assert json.loads(found) == json.loads(expected)
    assert json.loads(later.communicate(timeout=60)[0]) != json.loads(expected)


# What a reader has not taken


def test_a_spool_keeps_order_through_memory_and_file():
    """Whatever a slow reader leaves goes to a file and comes back in order; once it has caught up, memory serves."""
    spool, expected, found, spilled = Spool(limit=100), b"", b"", False
    for number in range(200):
        data = f"{number}:".encode() * (number % 7 + 1)
        spool.write(data)
        expected += data
        if number % 20 > 12:
            found += spool.read()
        spilled = spilled or spool.file is not None
    assert spilled
    spool.close(b"end")
    spool.write(b"too late")
    while data := spool.read():
        found += data
    assert found == expected + b"end" and spool.file is None


def test_no_room_for_a_slow_reader_is_told_and_ends_its_request(monkeypatch):
    """A full temporary folder costs the one client that reads too slowly its stream, not the others their backend."""
    ours, theirs = socket.socketpair()
    cancelled, dispatched = threading.Event(), threading.Event()
    connection = Connection(ours, lambda _: dispatched.set(), lambda *_: None)
    connection.on_cancel, connection.spool.limit = cancelled.set, 1_000_000
    theirs.sendall(encode("request", {"verb": "sample"}) + END)
    assert dispatched.wait(10)

    def full(**_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    line = b"x" * 999 + b"\n"
    for _ in range(5000):
        connection.send(line)
    assert cancelled.wait(10)
    with theirs, theirs.makefile("rb") as answers:
        lines = list(answers)
    assert len(lines) > 1000 and set(lines[:-1]) == {line}
    kind, error = decode(lines[-1])
    assert kind == "error" and error["code"] == 1 and "No space left" in error["message"]


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n", b"[1]\n", b'{"r1_request":{"verb":"dance"}}\n' + END, b""])
def test_strangers_at_the_socket_are_answered_and_forgotten(served, words):
    """Bytes that are no request get an error line or a hang-up, and the backend goes on."""
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(home(served)["socket"])
        stranger.settimeout(10)
        stranger.sendall(words)
        stranger.shutdown(socket.SHUT_WR)
        with stranger.makefile("rb") as answers:
            answer = answers.read()
    assert answer == b"" if not words else decode(answer)[0] == "error"
    assert len(records(run_r1("sample", served, "--questions", "1", check=0).stdout)) == 16


# Cost


def test_a_client_costs_little_and_imports_nothing_heavy(served, tmp_path):
    """One prompt through a resident backend: at most 150 ms of CPU, without torch, transformers or numpy."""
    prompts = tmp_path / "one.jsonl"
    prompts.write_bytes(ONE_PROMPT)
    arguments = ["sample", str(served), str(prompts), "--group", "1"]
    costs = []
    for _ in range(8):
        client = subprocess.Popen([*R1, *arguments], env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        _, code, usage = os.wait4(client.pid, 0)
        client.returncode = os.waitstatus_to_exitcode(code)
        assert client.returncode == 0
        costs.append(usage.ru_utime + usage.ru_stime)
    assert min(costs) <= 0.150, costs
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "r1cli", *arguments], env=ENVIRONMENT, capture_output=True, text=True
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in traced.stderr.splitlines()}
    assert "orjson" in imported and not imported & {"torch", "transformers", "tokenizers", "numpy", "safetensors"}


def test_threads_and_files_do_not_pile_up(served):
    """A long-lived backend serves thousands of requests: nothing stays behind of one that has ended."""
    pid = home(served)["pid"]

    def held():
        return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))

    run_r1("sample", served, "--questions", "1", check=0)
    before = wait_for(held)
    for _ in range(6):
        run_r1("sample", served, "--questions", "1", "--group", "1", check=0)
        start_r1("sample", served, *MANY).kill()
    wait_for(lambda: status(served)["sampling"] == 0, pause=0.05)
    wait_for(lambda: held()[0] <= before[0] and held()[1] <= before[1], seconds=10, pause=0.1)


def test_judged_rollouts_of_the_helper_are_a_real_batch(served):
    """The tests above stand on this: the helper's batch is complete and has a signal."""
    found = records(judge(run_r1("sample", served, check=0).stdout))
    assert len(found) == 128 and len({r["reward"] for r in found}) > 2
