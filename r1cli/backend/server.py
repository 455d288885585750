"""The resident backend: one engine, many clients, one thread that computes.

Sample requests share one continuous batch; an update waits for it to drain and new sampling waits for the update;
evaluations get the time that is left, on the weights they began with. Threads only read requests and write answers.
"""

import os
import queue
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from r1cli.backend import finetuning, onpolicy, sft_input
from r1cli.backend.base import EngineOptions, Lines
from r1cli.backend.connection import Connection
from r1cli.backend.engine import Engine, EngineLost
from r1cli.backend.learner import Learner
from r1cli.backend.metrics import metrics_lines
from r1cli.backend.protocol import announce, socket_path
from r1cli.backend.reception import Reception
from r1cli.backend.rollouts import SampleJob
from r1cli.backend.samplers import Sampler
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import R1Error
from r1cli.records import Record
from r1cli.runs import Run

# What is made update by update, with a metrics record for each: (engine, body, request) -> records.
TRAININGS = {"sft": finetuning.train, "distill": onpolicy.train}


class Cancelled(Exception):
    """The client went away before its update began."""


class Server:
    """Serves one run until it is told to stop; `make` makes its learner, `pid` is the process that people stop."""

    def __init__(
        self,
        run: Run,
        options: EngineOptions,
        make: Callable[[Path, EngineOptions, Tokenizer], Learner] = Learner,
        pid: int | None = None,
    ):
        self.run, self.pid = run, pid or os.getpid()
        self.client: Connection | None = None
        self.engine = Engine(run.latest(), run, options, self._note, make)
        if self.engine.engine_name == "vllm":
            self._say("starting vLLM")
        self.engine.start()
        # SimpleQueue, because signal handlers put into it too.
        self.inbox: queue.SimpleQueue[tuple[str, Connection | None]] = queue.SimpleQueue()
        self.updates: deque[Connection] = deque()
        self.training: tuple[Connection, Iterator[Record]] | None = None  # one on its way, update by update
        self.waiting: deque[Connection] = deque()
        self.jobs: dict[Connection, tuple[SampleJob, Sampler]] = {}
        self.owners: dict[int, Connection] = {}
        self.started = time.time()
        self.stopping = False
        self.updating = False  # an update is past the point where it could be cancelled
        self.reception = Reception(
            socket_path(run), lambda client: Connection(client, self._dispatch, self._read_examples)
        )
        if self.engine.engine_name == "vllm":
            self.engine.sampler.watch(lambda: self.inbox.put(("lost", None)))

    def serve(self) -> None:
        """Listens and computes until SIGTERM or SIGINT; saves and cleans up at the end.

        Raises R1Error when the engine is lost or the last save fails; the run is then at its last saved step, and
        serve.json stays, so that no command goes on in another home by itself.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, lambda *_: self.inbox.put(("stop", None)))
        ended = R1Error(f"the backend of {self.run.path} has been stopped; run the command again")
        try:
            self.reception.open()
            announce(self.run, self.reception.address, self.pid)
            self._say(
                f"serving {self.run.path} at step {self.engine.state.step} on {self.engine.device} "
                f"(sampler {self.engine.engine_name}, trainer {self.engine.learner.trainer_name}, "
                f"ranks {self.engine.learner.world})"
            )
            self._loop()
            self.engine.save()
            self.engine.close()
            (self.run.path / "serve.json").unlink(missing_ok=True)
            self._say(f"stopped at step {self.engine.state.step}")
        except Exception as error:
            ended = R1Error(f"the backend of {self.run.path} has failed: {error}; see {self.run.path}/serve.log")
            raise
        finally:
            self.reception.close()
            self.reception.dismiss(ended)
            self.engine.close()

    def abandon(self, words: str) -> None:
        """Gives all clients these last words; any thread may call it, and the process ends after it.

        serve.json stays: commands then say that the backend is gone, and none goes on in another home by itself.
        """
        self.reception.close()
        self.reception.dismiss(R1Error(words))

    def _dispatch(self, connection: Connection) -> None:
        verb = connection.request["verb"]
        if verb == "status":  # answered at once, also in the middle of an update
            connection.send(orjson.dumps(self._status()) + b"\n")
            connection.finish()
        elif verb in ("sample", "grpo_step", *TRAININGS):
            connection.on_cancel = lambda: self.inbox.put(("cancel", connection))
            self.inbox.put((verb, connection))
        else:
            raise R1Error(f"the backend does not know the request {verb}; are the versions of r1 equal?")

    def _read_examples(self, connection: Connection, lines: Lines, validation: Lines | None) -> sft_input.Data:
        own = self.run, self.engine.tokenizer, self.engine.config
        return sft_input.read_data(*own, connection.request, lines, validation, connection.note)

    def _status(self) -> dict[str, Any]:
        engine = self.engine
        return {
            "run": str(self.run.path), "pid": self.pid, "step": engine.state.step,
            "iteration": engine.state.iteration, "saved": self.run.latest().name, "unsaved": engine.unsaved,
            "device": str(engine.device), "sampler": engine.engine_name, "trainer": engine.learner.trainer_name,
            "ranks": engine.learner.world, "zero": engine.learner.zero, "sampling": len(self.jobs),
            "waiting": len(self.waiting) + len(self.updates), "updating": self.updating or self.training is not None,
            "seconds": round(time.time() - self.started, 1),
        }  # fmt: skip

    def _loop(self) -> None:
        engine = self.engine
        while True:
            busy = engine.sampler.busy or engine.evaluator.busy or self.training
            idle = not (busy or self.updates or self.waiting)
            self._take(block=idle)
            if self.stopping:
                return
            engine.attach_evaluator()
            if self.training or not self.updates:  # other work goes on between the updates of a long training
                self._admit_waiting()
            if engine.sampler.busy:
                self._advance(engine.sampler)
            elif self.training:
                self._train(*self.training)
                if engine.evaluator.busy:
                    self._advance(engine.evaluator)
            elif self.updates:
                self._update(self.updates.popleft())
            elif engine.evaluator.busy:
                self._advance(engine.evaluator)

    def _take(self, block: bool) -> None:
        """Takes over what has arrived."""
        while True:
            try:
                verb, connection = self.inbox.get(block=block)
            except queue.Empty:
                return
            block = False
            if verb == "lost":  # raises: the engine that samples has died
                self.engine.sampler.check()
            if connection is None:
                self.stopping = True
                return
            if verb == "cancel":
                self._cancel(connection)
            elif verb in ("grpo_step", *TRAININGS):
                self.updates.append(connection)
            else:
                self.waiting.append(connection)

    def _admit_waiting(self) -> None:
        """Starts what waits for sampling, but no evaluation beside one that still runs on older weights."""
        engine = self.engine
        for _ in range(len(self.waiting)):
            connection = self.waiting.popleft()
            background = bool(connection.request.get("background"))
            if background and engine.learner.frozen:
                self.waiting.append(connection)
            elif not connection.cancelled.is_set():
                self._admit(connection, engine.evaluator if background else engine.sampler)

    def _admit(self, connection: Connection, sampler: Sampler) -> None:
        self.client = connection
        job = None
        try:
            job = self.engine.plan(connection.request, None if connection.request["own"] else connection.body)
            for group in job.groups:
                sampler.add(group)
        except Exception as error:
            for group in job.groups if job else ():
                sampler.cancel(group.key)
            connection.finish(self._as_answer(error, "the request could not be sampled"))
        else:
            self.jobs[connection] = (job, sampler)
            self.owners[job.number] = connection

    def _advance(self, sampler: Sampler) -> None:
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

    def _forget(self, connection: Connection) -> tuple[SampleJob, Sampler] | None:
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
        if train := TRAININGS.get(connection.request["verb"]):
            self.training = connection, train(self.engine, connection.body, connection.request)
            connection.body = None
            return

        def still_wanted() -> None:
            if connection.cancelled.is_set():
                raise Cancelled
            self.updating = True

        with self._answering(connection, "the update failed"):
            for line in metrics_lines(self.engine.grpo_step(connection.body, connection.request, still_wanted)):
                connection.send(line)
            connection.finish()
        self.updating = False
        connection.body = None  # a client that lingers must not keep its batch in memory

    def _train(self, connection: Connection, records: Iterator[Record]) -> None:
        """Makes one update of a training; one whose client went away is saved, and the same command goes on with it."""
        record = None
        with self._answering(connection, "the training failed"):
            if connection.cancelled.is_set():
                records.close()
                raise Cancelled
            record = next(records, None)
            for line in metrics_lines([record] if record else []):
                connection.send(line)
        if record is None:
            self.training = None
            connection.finish()

    @contextmanager
    def _answering(self, connection: Connection, what: str) -> Iterator[None]:
        """What goes wrong with a client's update is its client's to know; a lost engine ends the service too."""
        self.client = connection
        try:
            yield
        except Cancelled:
            self._say(f"a client went away; its update or training ended at step {self.engine.state.step}")
        except EngineLost as error:
            connection.finish(error)
            raise
        except Exception as error:
            connection.finish(self._as_answer(error, what))
            self._say(f"{what}: {error}")

    def _as_answer(self, error: Exception, what: str) -> R1Error:
        """The error that a client gets; a defect of ours leaves its traceback in the log."""
        if isinstance(error, R1Error):
            return error
        self._say(traceback.format_exc())
        return R1Error(f"{what} ({type(error).__name__}: {error}); see {self.run.path}/serve.log")

    def _note(self, message: str) -> None:
        if self.client is not None:
            self.client.note(message)

    def _say(self, message: str) -> None:
        with suppress(OSError):  # a full disk or a terminal that is gone must not end the service
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}", file=sys.stderr, flush=True)
