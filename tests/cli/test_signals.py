"""Ctrl-C and its kin: the program dies by the signal that it got, in silence, wherever it is."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ENVIRONMENT, R1, run_r1, shell

ROLLOUT = {"id": "a", "prompt": "1 + 1", "answer": "2", "completion": "<think>1</think><answer>2</answer>"}


def _start(arguments, **kwargs):
    """A process group of its own, as a terminal's foreground job is one."""
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, start_new_session=True, **kwargs
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_kills_by_itself(number):
    """Death by the signal and silence, so that whoever waits can tell it from a failure."""
    process = _start([*R1, "reward", "--format"], stdin=subprocess.PIPE)
    process.stdin.write(json.dumps(ROLLOUT).encode() + b"\n")
    process.stdin.flush()
    process.stdout.readline()  # it is at work
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (-number, b"", b"")


def test_ctrl_c_stops_a_bash_loop(served, tmp_path):
    """A command that exits with 130 instead would let the loop go on to its next round."""
    loop = f'for i in 1 2 3 4 5; do echo $i; "{sys.executable}" -m r1cli sample {served} --group 512 > /dev/null; done'
    process = _start(["bash", "-c", loop], cwd=tmp_path)
    assert process.stdout.readline() == b"1\n"
    time.sleep(0.6)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert (out, err) == (b"", b"")
    status = json.loads(run_r1("serve", served, "--status", check=0).stdout)
    assert (status["sampling"], status["waiting"]) == (0, 0)


SWALLOWER = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except BaseException:
    print("swallowed")
raise ImportError
"""


def test_ctrl_c_while_a_library_loads(tmp_path):
    """Large libraries catch everything while they load: a Ctrl-C in there must end the program all the same."""
    (tmp_path / "py3langid").mkdir()
    (tmp_path / "py3langid" / "__init__.py").write_text("")
    (tmp_path / "py3langid" / "langid.py").write_text(SWALLOWER)
    thought = "we add the numbers and see what comes out of it in the end, which is easy enough for everyone here"
    record = {**ROLLOUT, "completion": f"<think>{thought}</think><answer>2</answer>"}
    done = run_r1("reward", "--language", "en", "--language-detector", stdin=json.dumps(record).encode(), cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_signal_that_was_ignored_stays_ignored(tmp_path):
    """nohup's SIGHUP, and the SIGINT of a shell's background jobs."""
    done = shell(
        f"trap '' HUP; (sleep 1; echo '{json.dumps(ROLLOUT)}') | "
        f'"{sys.executable}" -m r1cli reward --format -q & sleep 0.5; kill -HUP $!; wait $!; echo $?',
        cwd=tmp_path,
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert json.loads(done.stdout.splitlines()[0])["reward"] == 1.0
