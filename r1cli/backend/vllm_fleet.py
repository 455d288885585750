"""vLLM engines in processes of their own: several of them, over several devices each, or one beside torch.distributed.

Behaves as one engine (vllm_engine.py). Groups go to the engine that has least to do, weights travel in memory that the
engines' processes map (vllm_parcel.py). What runs in those processes is vllm_process.py. A process that dies is
noticed at once and never replaced: whoever asks next gets R1Error.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from torch import Tensor

from r1cli import ui
from r1cli.backend.vllm_engine import Part, Plan, Request
from r1cli.backend.vllm_parcel import packed
from r1cli.backend.vllm_worker import Seal
from r1cli.errors import R1Error

# How long a step waits for samples before the caller may look for other work.
PATIENCE_SECONDS = 0.05
CLOSE_SECONDS = 20.0
# What a launcher tells its ranks: an engine is a world of its own.
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_", "LOCAL_", "GROUP_", "ROLE_", "NODE_RANK", "CROSS_", "TORCHELASTIC_")
CHILD = "import sys; sys.path[:] = {path!r}; from r1cli.backend.vllm_process import main; main({number}, {verbose})"


class _Child:
    """One process with an engine: a connection to it, and how many requests it has."""

    def __init__(self, title: str, environment: dict[str, str]):
        self.title = title
        self.load = 0
        self.asked = 0
        ours, theirs = socket.socketpair()
        with theirs:
            self.connection = Connection(ours.detach())
            output = sys.stderr if ui.verbose() else subprocess.DEVNULL
            program = CHILD.format(path=sys.path, number=theirs.fileno(), verbose=ui.verbose())
            # A session of its own: Ctrl-C is the command's to answer, and its end is the engine's.
            self.process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=environment,
            )

    def send(self, verb: str, *arguments: Any, answer: bool = False) -> None:
        """Sends an order; with `answer`, `receive` is to be called until it has come."""
        self.asked += answer
        try:
            self.connection.send((verb, self.asked if answer else None, arguments))
        except OSError:
            raise self.lost() from None

    def receive(self) -> tuple[bool, Any]:
        """The next message: whether it answers the last order (else: samples), and what it says; None for a late one.

        Raises R1Error for a failure.
        """
        try:
            failed, number, value = self.connection.recv()
        except (EOFError, OSError):
            raise self.lost() from None
        if number not in (None, self.asked):  # the order was given up when another engine failed
            return False, None
        if failed:
            raise R1Error(value)
        return number is not None, value

    def lost(self) -> R1Error:
        """What is said of a process that is gone."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5.0)
        code = self.process.returncode
        if code is None or code >= 0:
            how = "does not answer any more" if code is None else f"ended with exit code {code}"
        else:
            hint = ", as the kernel does when memory runs out" if -code == signal.SIGKILL else ""
            how = f"was killed by {signal.Signals(-code).name}{hint}"
        return R1Error(f"{self.title} (process {self.process.pid}) {how}")


class VllmFleet:
    """`engines` engines of `width` devices each; `device` is where the trainer computes, whose neighbours they get."""

    def __init__(self, *, engines: int, width: int, slots: int, device: torch.device):
        self.engines, self.width, self.slots, self.device = engines, width, slots, device
        self._children: list[_Child] = []
        self._owners: dict[str, _Child] = {}
        self._closing = threading.Event()

    @property
    def running(self) -> bool:
        """Whether the engines were started."""
        return bool(self._children)

    @property
    def pids(self) -> list[int]:
        """The engines' processes."""
        return [child.process.pid for child in self._children]

    def start(self, plan: Plan, note: Callable[[str], None]) -> None:
        """Starts the engines side by side, without weights yet; raises R1Error when one does not come up."""
        many = f"{self.engines} vLLM engines" if self.engines > 1 else "vLLM"
        began = time.monotonic()
        try:
            for number in range(self.engines):
                title = f"vLLM's engine {number + 1} of {self.engines}" if self.engines > 1 else "vLLM's engine"
                self._children.append(_Child(title, self._environment(number)))
            note(f"starting {many}")
            self._ask("start", plan, idle=lambda: note(f"starting {many} ({time.monotonic() - began:.0f} s)"))
        except BaseException:
            self.close()
            raise

    def _environment(self, number: int) -> dict[str, str]:
        """The environment of an engine: a world of its own, its own devices, its part of the threads."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHED)}
        if self.device.type == "cuda":
            named = os.environ.get("CUDA_VISIBLE_DEVICES")
            visible = named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]
            first = (self.device.index or 0) + number * self.width
            chosen = [visible[(first + place) % len(visible)] for place in range(self.width)]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
        else:
            threads = torch.get_num_threads() // (self.engines * self.width)
            environment["OMP_NUM_THREADS"] = str(max(1, threads))
        return environment

    def take(
        self, tensors: Iterable[tuple[str, Tensor]], seals: dict[str, Seal], version: int, *, asleep: bool
    ) -> None:
        """Loads weights into the idle engines, which then hold `version`; raises R1Error when one did not take them."""
        try:
            with packed(tensors) as parcel:
                self._ask("take", parcel, seals, version, asleep)
        except OSError as error:
            raise R1Error(f"the new weights could not be packed for vLLM: {error.strerror}") from None

    def probe(self, request: Request, version: int) -> list[Part]:
        """The sample of one request by each idle engine."""
        return [part for parts in self._ask("probe", request, version) for part in parts]

    def sleep(self) -> None:
        """Lets the idle engines' memory on GPUs go until they take weights again."""
        self._ask("sleep")

    def room(self) -> bool:
        """Whether an engine can begin another group: what waits here goes to whichever is first."""
        return min(child.load for child in self._children) < self.slots

    def add(self, requests: list[Request], version: int) -> None:
        """Queues the requests of a group with the engine that has least to do."""
        child = min(self._children, key=lambda child: child.load)
        child.send("add", requests, version)
        child.load += len(requests)
        self._owners.update((request.name, child) for request in requests)

    def step(self) -> list[Part]:
        """What the engines have put out since; waits a moment for it. Raises R1Error when one has failed or died."""
        parts = []
        for child in self._ready(PATIENCE_SECONDS):
            answered, found = child.receive()
            if not answered and found:
                parts += found
        for part in parts:
            if part.ended:
                self._forget(part.name)
        return parts

    def abort(self, names: list[str]) -> None:
        """Ends requests that nobody wants any more."""
        for child in self._children:
            own = [name for name in names if self._owners.get(name) is child]
            if own:
                child.send("abort", own)
        for name in names:
            self._forget(name)

    def check(self) -> None:
        """Raises R1Error when an engine's process is gone."""
        for child in self._children:
            while child.process.poll() is not None:
                child.receive()  # what it had put out, then what it said last, or that it is gone

    def watch(self, lost: Callable[[], None]) -> None:
        """Calls `lost`, in a thread, as soon as an engine's process ends by itself."""
        processes = [os.pidfd_open(child.process.pid) for child in self._children]

        def look() -> None:
            wait(processes)
            for descriptor in processes:
                os.close(descriptor)
            if not self._closing.is_set():
                lost()

        threading.Thread(target=look, daemon=True).start()

    def close(self) -> None:
        """Ends the engines; returns when their processes are gone."""
        self._closing.set()
        for child in self._children:
            with suppress(R1Error):
                child.send("close")
        deadline = time.monotonic() + CLOSE_SECONDS
        for child in self._children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()
            child.connection.close()
        self._children.clear()
        self._owners.clear()

    def _ask(self, verb: str, *arguments: Any, idle: Callable[[], None] = lambda: None) -> list[Any]:
        """Gives all engines the same order and returns their answers; raises R1Error when one fails."""
        for child in self._children:
            child.send(verb, *arguments, answer=True)
        answers: dict[_Child, Any] = {}
        while len(answers) < len(self._children):
            for child in self._ready(0.2):
                answered, value = child.receive()
                if answered:  # not samples that nobody waits for any more
                    answers[child] = value
            idle()
        return [answers[child] for child in self._children]

    def _ready(self, seconds: float) -> list[_Child]:
        """The engines that have said something, or have ended."""
        ready = wait([child.connection for child in self._children], seconds)
        return [child for child in self._children if child.connection in ready]

    def _forget(self, name: str) -> None:
        child = self._owners.pop(name, None)
        if child is not None:
            child.load -= 1
