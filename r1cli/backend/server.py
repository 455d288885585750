"""The resident backend: one engine, many clients, one thread that computes.

Sample requests share one continuous batch; an update waits for it to drain and new sampling waits for the update;
evaluations get the time that is left, on the weights they began with. Threads only read requests and write answers.
"""

import os
import queue
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections import deque
from contextlib import suppress
from typing import Any

import orjson

from r1cli.backend.base import EngineOptions
from r1cli.backend.connection import Connection
from r1cli.backend.engine import Engine, metrics_lines
from r1cli.backend.protocol import process_start, socket_path
from r1cli.backend.rollouts import SampleJob
from r1cli.backend.sampler_torch import TorchSampler
from r1cli.errors import R1Error
from r1cli.runs import Run, replace_file


class Cancelled(Exception):
    """The client went away before its update began."""


class Server:
    """Serves one run until it is told to stop."""

    def __init__(self, run: Run, options: EngineOptions, log: Any):
        self.run, self.log = run, log
        self.client: Connection | None = None
        self.engine = Engine(run.latest(), run, options, self._note)
        # SimpleQueue, because signal handlers put into it too.
        self.inbox: queue.SimpleQueue[tuple[str, Connection | None]] = queue.SimpleQueue()
        self.updates: deque[Connection] = deque()
        self.waiting: deque[Connection] = deque()
        self.jobs: dict[Connection, tuple[SampleJob, TorchSampler]] = {}
        self.owners: dict[int, Connection] = {}
        self.started = time.time()
        self.stopping = False

    def serve(self) -> None:
        """Listens and computes until SIGTERM, SIGINT or a stop request; saves and cleans up at the end.

        Raises R1Error when an update failed half-way; the run is then at its last saved step.
        """
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(name, lambda *_: self.inbox.put(("stop", None)))
        address = socket_path(self.run)
        address.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(address))
        address.chmod(0o600)
        listener.listen(64)
        info = {
            "pid": os.getpid(), "host": socket.gethostname(), "start": process_start(os.getpid()),
            "socket": str(address),
        }  # fmt: skip
        replace_file(self.run.path / "serve.json", orjson.dumps(info))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        self._say(f"serving {self.run.path} at step {self.engine.state.step} on {self.engine.device}")
        try:
            self._loop()
            self.engine.save()
            self._say(f"stopped at step {self.engine.state.step}")
        finally:
            address.unlink(missing_ok=True)
            (self.run.path / "serve.json").unlink(missing_ok=True)
            ended = R1Error(f"the backend of {self.run.path} has stopped; the run stands at its last saved step")
            for connection in [*self.updates, *self.waiting, *self.jobs]:
                connection.finish(ended)
            # The writer threads need a moment to hand over these last words.
            time.sleep(0.1)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            with suppress(OSError):
                connection, _ = listener.accept()
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                if struct.unpack("3i", credentials)[1] != os.getuid():
                    connection.close()
                    continue
                Connection(connection, self._dispatch)

    def _dispatch(self, connection: Connection) -> None:
        if connection.request["verb"] == "status":  # answered at once, also in the middle of an update
            connection.send(orjson.dumps(self._status()) + b"\n")
            connection.finish()
            return
        connection.on_cancel = lambda: self.inbox.put(("cancel", connection))
        self.inbox.put((connection.request["verb"], connection))

    def _status(self) -> dict[str, Any]:
        engine = self.engine
        return {
            "run": str(self.run.path), "pid": os.getpid(), "step": engine.state.step,
            "iteration": engine.state.iteration, "saved": self.run.latest().name, "unsaved": engine.unsaved,
            "device": str(engine.device), "sampling": len(self.jobs), "waiting": len(self.waiting) + len(self.updates),
            "seconds": round(time.time() - self.started, 1),
        }  # fmt: skip

    def _loop(self) -> None:
        engine = self.engine
        while True:
            idle = not (engine.sampler.busy or engine.evaluator.busy or self.updates or self.waiting)
            self._take(block=idle)
            if self.stopping:
                return
            if self.updates and not engine.sampler.busy:
                self._update(self.updates.popleft())
            elif engine.sampler.busy:
                self._advance(engine.sampler)
            elif self.waiting and not self.updates:
                for _ in range(len(self.waiting)):
                    self._admit(self.waiting.popleft())
            elif engine.evaluator.busy:
                self._advance(engine.evaluator)

    def _take(self, block: bool) -> None:
        """Takes over what has arrived; while an update waits for the sampler to drain, new sampling waits too."""
        while True:
            try:
                verb, connection = self.inbox.get(block=block)
            except queue.Empty:
                return
            block = False
            if verb == "stop":
                self.stopping = True
                if connection is not None:
                    connection.finish()
                return
            assert connection is not None
            if verb == "cancel":
                self._cancel(connection)
            elif verb == "grpo_step":
                self.updates.append(connection)
            elif verb == "sample" and self.updates:
                self.waiting.append(connection)
            elif verb == "sample":
                self._admit(connection)
            else:
                connection.finish(R1Error(f"the backend does not know the request {verb}; are the versions equal?"))

    def _admit(self, connection: Connection) -> None:
        if connection.cancelled.is_set():
            return
        self.client = connection
        sampler = self.engine.sampler
        if connection.request.get("background"):
            self.engine.attach_evaluator()
            sampler = self.engine.evaluator
            if sampler.model is not self.engine.model:  # an evaluation of older weights has to end first
                self.waiting.append(connection)
                return self._advance(sampler)
        try:
            job = self.engine.plan(connection.request, None if connection.request["own"] else connection.body)
            for group in job.groups:
                sampler.add(group)
        except R1Error as error:
            connection.finish(error)
            return None
        self.jobs[connection] = (job, sampler)
        self.owners[job.number] = connection
        return None

    def _advance(self, sampler: TorchSampler) -> None:
        for group, samples in sampler.step():
            connection = self.owners.get(group.key[0])
            if connection is None:
                continue
            job, _ = self.jobs[connection]
            for line in job.lines(group, samples):
                connection.send(line)
            if job.pending == 0:
                self._forget(connection)
                connection.finish()

    def _forget(self, connection: Connection) -> tuple[SampleJob, TorchSampler] | None:
        entry = self.jobs.pop(connection, None)
        if entry is not None:
            self.owners.pop(entry[0].number, None)
        return entry

    def _cancel(self, connection: Connection) -> None:
        for queued in (self.updates, self.waiting):
            if connection in queued:
                queued.remove(connection)
        entry = self._forget(connection)
        if entry is not None:
            job, sampler = entry
            for group in job.groups:
                sampler.cancel(group.key)

    def _update(self, connection: Connection) -> None:
        self.client = connection

        def still_wanted() -> None:
            if connection.cancelled.is_set():
                raise Cancelled

        try:
            metrics = self.engine.grpo_step(connection.body, connection.request, still_wanted)
        except Cancelled:
            self._say("an update was cancelled: its client went away")
        except R1Error as error:
            connection.finish(error)
            self._say(f"update refused: {error}")
        except Exception as error:
            connection.finish(R1Error(f"the update failed ({type(error).__name__}: {error}); the backend stops"))
            self._say(traceback.format_exc())
            self.engine.unsaved = 0  # the weights are in doubt: the last saved step is the truth
            raise R1Error("the update failed; the run stands at its last saved step") from error
        else:
            for line in metrics_lines(metrics):
                connection.send(line)
            connection.finish()

    def _note(self, message: str) -> None:
        if self.client is not None:
            self.client.note(message)

    def _say(self, message: str) -> None:
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}", file=self.log or sys.stderr, flush=True)
