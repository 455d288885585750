"""The judge's side of a keeper: start one, send it programs, replace it when it fails, and choose a kind of sandbox."""

from __future__ import annotations

import json
import os
import platform
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from r1cli.errors import R1Error
from r1cli.rewards.sandbox import interpreter, messages, seccomp
from r1cli.rewards.sandbox.messages import Result, Run

KINDS = ("bubblewrap", "landlock")
GRACE = 30.0  # seconds beyond a run's own limits before a keeper that says nothing is given up
_OLDEST = (0, 8)  # the first bubblewrap with --size and --disable-userns
# The package alone, without r1cli: a keeper is forked for every program and must stay small.
_MAIN = "import sys; sys.path.append(sys.argv.pop(1)); from sandbox.keeper import main; main()"


class Slot:
    """One keeper; runs one program at a time. `run` belongs to one thread, `close` to any."""

    def __init__(self, kind: str):
        self.kind = kind
        self.problem = ""
        self._keeper: subprocess.Popen | None = None
        self._folder = ""
        self._said = -1
        self._closed = False
        self._busy = threading.Lock()

    def start(self) -> bool:
        """Starts the keeper and its trial program; False, with `problem` set, when it can't hold programs."""
        self._stop()
        if not supported():
            self.problem = "it needs Linux on x86_64 or aarch64"
            return False
        settings = {"kind": self.kind}
        if self.kind == "bubblewrap":
            settings["bubblewrap"] = shutil.which("bwrap") or ""
            self.problem = _bubblewrap_problem(settings["bubblewrap"])
            if self.problem:
                return False
        else:
            # Readable for the user that programs run as.
            self._folder = settings["folder"] = tempfile.mkdtemp(prefix="r1-code-")
            os.chmod(self._folder, 0o755)
        self._said = os.memfd_create("r1-keeper", os.MFD_CLOEXEC)
        package = str(Path(__file__).parent.parent)
        self._keeper = subprocess.Popen(
            [interpreter.executable(), "-I", "-S", "-B", "-c", _MAIN, package, json.dumps(settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
            bufsize=0, start_new_session=True, cwd="/", env=interpreter.ENVIRONMENT,
        )  # fmt: skip
        reply = self._receive(10.0)
        self.problem = self._last_words() if reply is None else reply[0]["problem"]
        if self.problem:
            self._stop()
        return not self.problem

    def run(self, run: Run) -> Result:
        """Runs one program; a keeper that broke is replaced once before the state "broken" is the answer."""
        result = Result("broken", message="closed")
        with self._busy:
            for _ in range(2):
                if self._closed:
                    break
                if self._keeper is None and not self.start():
                    return Result("broken", message=self.problem)
                result = self._ask(run)
                if result.state != "broken":
                    break
                self._stop()
        return result

    def _ask(self, run: Run) -> Result:
        head = {"cpu": run.cpu, "memory": run.memory, "output": run.output}
        try:
            messages.send(self._keeper.stdin.fileno(), head, run.program, run.input)
            reply = self._receive(5 * run.cpu + 5)
        except OSError:  # it has ended
            reply = None
        if reply is None:
            return Result("broken", message=self._last_words())
        head, stdout, stderr = reply
        return Result(head["state"], head["code"], stdout, stderr, head["cpu"], head["message"])

    def _receive(self, seconds: float) -> tuple[dict, bytes, bytes] | None:
        descriptor = self._keeper.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return messages.receive(descriptor) if poll.poll((seconds + GRACE) * 1000) else None

    def _last_words(self) -> str:
        with suppress(OSError):
            said = os.pread(self._said, 1 << 16, 0).decode(errors="replace").strip()
            if said:
                return said.rpartition("\n")[2][:300]
        return "the sandbox's keeper does not answer"

    def _stop(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.stdin.close()  # it ends what it runs, and itself
            try:
                keeper.wait(5)
            except subprocess.TimeoutExpired:
                keeper.kill()
                keeper.wait()
            keeper.stdout.close()
        if self._said >= 0:
            os.close(self._said)
            self._said = -1
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    def close(self) -> None:
        """Ends the keeper and all it runs; may be called twice, and while a program runs."""
        self._closed = True
        keeper = self._keeper
        if not self._busy.acquire(blocking=False):
            if keeper is not None:
                keeper.terminate()
            self._busy.acquire()  # until the thread in `run` has seen it end
        self._stop()
        self._busy.release()


def supported() -> bool:
    """Whether programs can be run on this system at all, whatever is installed."""
    return sys.platform == "linux" and seccomp.supported()


def choose(name: str, unsafe: bool = False) -> Slot:
    """A started slot of the kind that `name` asks for: "bubblewrap", "landlock", or "auto", the first that works here.

    With `unsafe`, limits alone ("none"). Raises R1Error, with what to install, when no sandbox works.
    """
    if not supported():
        raise R1Error(
            f"--code runs programs on Linux (x86_64, aarch64) only, and this is {platform.system()} "
            f"{platform.machine()}; judge there: ssh HOST r1 reward --code < rollouts.jsonl"
        )
    if unsafe:
        slot = Slot("none")
        if slot.start():
            return slot
        raise R1Error(f"cannot run programs: {slot.problem}")
    problems = []
    for kind in KINDS if name == "auto" else (name,):
        slot = Slot(kind)
        if slot.start():
            return slot
        problems.append(f"{kind}: {slot.problem}")
    raise R1Error(
        f"no sandbox for --code works here ({'; '.join(problems)}): install bubblewrap 0.8 or newer "
        "(apt install bubblewrap, dnf install bubblewrap) and allow user namespaces, "
        "or take the risk with --unsafe-no-sandbox"
    )


def _bubblewrap_problem(path: str) -> str:
    if not path:
        return "bwrap is not installed"
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout.split()
        version = tuple(map(int, said[-1].split(".")[:2]))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return f"{path} --version does not answer"
    return "" if version >= _OLDEST else f"bubblewrap {said[-1]} is older than 0.8"
