"""Starting the ranks of a backend through DeepSpeed's launcher, and staying with them until they have ended.

The process that was asked to serve starts the launcher, ties every rank of its machine to itself by a socket (a rank
ends when it is gone), and hands signals on to one of them. It loads no model and imports nothing heavy; what the ranks
do is said in rank.py.
"""

import base64
import json
import os
import secrets
import selectors
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from r1cli import ui
from r1cli.backend.base import EngineOptions
from r1cli.backend.layout import Layout, launcher_command
from r1cli.errors import InputError, R1Error
from r1cli.runs import Run

LOOK_SECONDS = 0.2


def log_path(run: Path, rank: int) -> Path:
    """Where a rank writes what it has to say; rank 0 when it is detached."""
    return run / (f"serve-rank{rank}.log" if rank else "serve.log")


def machine() -> str:
    """This machine's name and boot, which no other one and no other container on it has."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}"


def unpack(word: str) -> dict[str, Any]:
    """What a rank was started with, from its argument: one word that any number of shells leave as it is."""
    return json.loads(base64.urlsafe_b64decode(word))


class Rope:
    """A rank's connection to the process that started its launcher, by a name that needs no file."""

    def __init__(self, connection: socket.socket, pid: int):
        self.connection, self.pid = connection, pid

    @classmethod
    def tie(cls, payload: dict[str, Any], rank: int) -> "Rope | None":
        """Connects; None on another machine, where rank 0 is what a rank hangs on. Ends a process that is too late."""
        if payload["machine"] != machine():
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect("\0" + payload["rope"])
        except OSError:
            ui.error(f"rank {rank}: the process that started the launcher is gone")
            os._exit(1)
        rope = cls(connection, _peer(connection)[0])
        rope.say({"rank": rank})
        return rope

    def say(self, message: dict[str, Any]) -> None:
        """Sends one message."""
        with suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def watch(self, gone: Callable[[], None]) -> None:
        """Calls `gone`, in a thread, when the other end is."""

        def wait() -> None:
            with suppress(OSError):
                self.connection.recv(1)
            gone()

        threading.Thread(target=wait, daemon=True).start()


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end, as the kernel tells them."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, user, _ = struct.unpack("3i", credentials)
    return pid, user


class _Tied:
    """A rank of this machine."""

    def __init__(self, pid: int):
        self.pid = pid
        self.rank = -1
        self.text = b""
        self.said: dict[str, Any] = {}


class Launch:
    """The launcher and the ranks of this machine; `joined` is called when these have found all others."""

    def __init__(self, run: Run, options: EngineOptions, layout: Layout, joined: Callable[[], None]):
        self.run, self.layout, self.joined = run, layout, joined
        self.ranks: list[_Tied] = []
        self.gone: list[_Tied] = []  # those that have ended, in that order
        self.stopping = False
        self.selector = selectors.DefaultSelector()
        name = f"r1-{secrets.token_hex(16)}"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind("\0" + name)
        self.listener.listen(256)
        self.selector.register(self.listener, selectors.EVENT_READ)
        plain = {name: value if value is None else _plain(value) for name, value in options._asdict().items()}
        payload = {
            "run": str(run.path), "options": plain, "machine": machine(), "rope": name,
            "verbose": ui.verbose(),
        }  # fmt: skip
        word = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode()
        self.command = [*launcher_command(layout), "r1cli.backend.rank", word]
        self.environment = {**os.environ}
        if options.device == "cpu":
            self.environment["DS_ACCELERATOR"] = "cpu"

    def stay(self) -> None:
        """Starts everything and returns when it has ended in order; raises R1Error with the words of a rank else."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, self._ask_to_stop)
        # A session of its own: Ctrl-C is for this process, which asks rank 0 to save. Nothing but records on stdout.
        launcher = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=2, stderr=2, env=self.environment, start_new_session=True
        )
        told = False
        try:
            while launcher.poll() is None and not self._over():
                self._look(LOOK_SECONDS)
                if self.stopping and not told:
                    told = True
                    if not self._hand_on():
                        break
            while self._look(0):
                pass
        finally:
            own = len(self.gone)  # ends that are not this process's work
            # What is left of it has nobody to serve; the ranks, tied to this process, end in any case.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(launcher.pid, signal.SIGKILL)
            launcher.wait()
        while self._look(0):
            pass
        del self.gone[own:]
        self._judge(launcher.returncode)

    def _look(self, seconds: float) -> bool:
        """Takes in what ranks say, waiting for so long; whether there was anything."""
        found = self.selector.select(seconds)
        for key, _ in found:
            self._accept() if key.data is None else self._read(key)
        return bool(found)

    def _ask_to_stop(self, *_: object) -> None:
        self.stopping = True

    def _hand_on(self) -> bool:
        """Passes a request to stop on to a rank; False when none of this machine is ready to hear it."""
        ready = [tied for tied in self.ranks if "joined" in tied.said]
        if not ready:
            return False
        with suppress(ProcessLookupError):
            os.kill(min(ready, key=lambda tied: tied.rank).pid, signal.SIGTERM)
        return True

    def _over(self) -> bool:
        return 0 < len(self.ranks) == len(self.gone) or any(tied.rank == 0 for tied in self.gone)

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        pid, user = _peer(connection)
        if user != os.getuid():
            connection.close()
            return
        self.ranks.append(_Tied(pid))
        self.selector.register(connection, selectors.EVENT_READ, self.ranks[-1])

    def _read(self, key: selectors.SelectorKey) -> None:
        connection, tied = key.fileobj, key.data
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        tied.text += data
        *lines, tied.text = tied.text.split(b"\n")
        for line in lines:
            message = json.loads(line)
            tied.rank = message.get("rank", tied.rank)
            tied.said |= message
            expected = len(list(self.layout.nodes.values())[self.layout.node])
            if "joined" in message and sum("joined" in each.said for each in self.ranks) == expected:
                self.joined()
        if not data:
            self.gone.append(tied)
            self.selector.unregister(connection)
            connection.close()

    def _judge(self, code: int) -> None:
        """Returns when the ranks have ended in order, else raises what one of them said last."""
        ranks = sorted(self.ranks, key=lambda tied: tied.rank)
        if ranks and "end" in ranks[0].said:
            return
        ready = ranks and all("joined" in tied.said and "stopped" not in tied.said for tied in ranks)
        if self.stopping and not ready:
            ui.say("stopped before the backend was ready")
            return
        # Rank 0 knows best; then the one that ended first, for the ends of others, and their words, are its effect.
        first = ranks[:1] if ranks and ranks[0].rank == 0 and "error" in ranks[0].said else self.gone[:1]
        for tied in first:
            if "error" in tied.said:
                raise (InputError if tied.said["code"] == 2 else R1Error)(tied.said["error"])
            log, stands = log_path(self.run.path, tied.rank), self.run.latest().name
            raise R1Error(f"rank {tied.rank} died; see {log}; {self.run.path} stands at {stands}")
        node = self.layout.node
        log = self.run.path / (f"serve-node{node}.log" if node else "serve.log")
        when = ", and with it the backend" if ranks else " before a rank had started"
        raise R1Error(f"DeepSpeed's launcher has ended with exit code {code}{when}; see {log}")


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | bool) else str(value)
