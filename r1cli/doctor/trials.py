"""What is tried for real: the tiny base samples, an answer is graded, a socket is opened, programs run in sandboxes."""

import json
import shutil
import socket
import sys
import time
from collections.abc import Iterator

from r1cli.doctor.finding import Finding, ask
from r1cli.errors import R1Error

R1 = [sys.executable, "-m", "r1cli"]
QUESTION = {"id": "1", "prompt": "1+2+3", "answer": "6"}
# Equal only by algebra, so that the processes of math-verify are needed.
ANSWERED = {"id": "1", "prompt": "?", "answer": r"\sin(2x)", "completion": r"<answer>\boxed{2\sin(x)\cos(x)}</answer>"}
SANDBOX = "r1 reward --code"


def findings() -> Iterator[Finding]:
    """Yields how each trial went."""
    yield sampling()
    yield grading()
    yield serving()
    yield from sandboxes()


def sampling() -> Finding:
    """The tiny base loads and samples, by the command that everybody uses."""
    purpose, began = "r1 sample, and all that needs a model", time.monotonic()
    asked = [*R1, "sample", "tiny", "-", "-q", "--group", "1", "--max-tokens", "8", "--sampler", "torch"]
    answer = ask(asked, given=json.dumps(QUESTION) + "\n")
    try:
        tokens = len(json.loads(answer.output)["completion_ids"])
    except (ValueError, KeyError):
        return Finding("tiny model", "broken", True, answer.complaint, purpose, f"see: {' '.join(asked[2:])} -v")
    return Finding("tiny model", "ok", True, f"{tokens} tokens, {time.monotonic() - began:.1f} s", purpose)


def grading() -> Finding:
    """Answers are compared by algebra, in processes that can be killed."""
    purpose = "r1 reward --accuracy"
    answer = ask([*R1, "reward", "-q", "--accuracy"], given=json.dumps(ANSWERED) + "\n")
    try:
        told = json.loads(answer.output)["reward_info"]["accuracy"]["reason"]
    except (ValueError, KeyError):
        told = answer.complaint
    if told != "symbolic":
        return Finding("grading", "broken", True, told, purpose, "pip install --force-reinstall r1-pipes")
    return Finding("grading", "ok", True, "math-verify in its processes", purpose)


def serving() -> Finding:
    """A Unix socket can be opened where backends have theirs."""
    from r1cli.backend.protocol import socket_folder

    purpose = "r1 serve"
    try:
        path = socket_folder() / "doctor.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
        path.unlink()
    except (OSError, R1Error) as error:
        return Finding("socket", "broken", False, str(error), purpose, "set XDG_RUNTIME_DIR to a short path of yours")
    return Finding("socket", "ok", False, str(path.parent), purpose)


def sandboxes() -> Iterator[Finding]:
    """Each kind of sandbox runs a program; Landlock matters only where bubblewrap does not work."""
    from r1cli.rewards.sandbox import slot

    if not slot.supported():
        why = "programs run on Linux only (x86_64, aarch64)"
        yield Finding("sandbox", "absent", False, why, SANDBOX, "judge them on a Linux machine")
        return
    works = False
    for kind in slot.KINDS:
        trial = slot.Slot(kind)
        try:
            good = trial.start()
        finally:
            trial.close()
        there = kind != "bubblewrap" or shutil.which("bwrap")
        found, fix = "holds a program" if good else trial.problem, "" if good or works else _FIXES[kind]
        yield Finding(kind, "ok" if good else "broken" if there else "absent", False, found, SANDBOX, fix)
        works = works or good


_FIXES = {
    "bubblewrap": "apt install bubblewrap (0.8 or newer), and allow user namespaces; Landlock stands in where it works",
    "landlock": "take a kernel with Landlock (5.13 or newer), or bubblewrap",
}
