"""One client of a resident backend: its request read to the end, its answers spooled until it takes them.

The engine never waits for a reader: what a slow one has not taken goes to memory and then to a temporary file.
"""

import select
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from r1cli import stream
from r1cli.backend.protocol import MARK, decode, encode
from r1cli.errors import InputError, R1Error
from r1cli.records import Record, as_prompt, collect

IN_MEMORY = 32 << 20  # bytes of unread answers kept in memory per client


class Spool:
    """A byte queue between one writer that never blocks and one reader that may be slow."""

    def __init__(self) -> None:
        self.file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed by the reader
        self.changed = threading.Condition()
        self.taken = self.written = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        """Appends; never blocks on the reader."""
        with self.changed:
            self.file.seek(self.written)
            self.file.write(data)
            self.written += len(data)
            self.changed.notify()

    def close(self) -> None:
        """Says that nothing more will come."""
        with self.changed:
            self.closed = True
            self.changed.notify()

    def read(self) -> bytes:
        """The next bytes, waiting for them; empty at the end."""
        with self.changed:
            while self.taken == self.written and not self.closed:
                self.changed.wait()
            self.file.seek(self.taken)
            data = self.file.read(1 << 18)
            self.taken += len(data)
            if self.taken == self.written:  # all taken: start over, so that a long job does not grow a file
                self.file.seek(0)
                self.file.truncate()
                self.taken = self.written = 0
            return data


class Connection:
    """A client's request and where its answers go."""

    def __init__(self, connection: socket.socket, dispatch: Callable[["Connection"], None]):
        self.socket = connection
        self.dispatch = dispatch
        self.spool = Spool()
        self.request: dict[str, Any] = {}
        self.body: Any = None
        self.cancelled = threading.Event()
        self.on_cancel: Callable[[], None] = lambda: None
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._write, daemon=True).start()

    def send(self, data: bytes) -> None:
        """Queues bytes for the client."""
        self.spool.write(data)

    def note(self, message: str) -> None:
        """Queues one line for the client's stderr."""
        self.send(encode("note", message))

    def finish(self, error: R1Error | None = None) -> None:
        """Ends the answer, with an error that the client raises as its own."""
        if error is None:
            self.send(encode("end", True))
        else:
            self.send(encode("error", {"code": error.code, "message": str(error)}))
        self.spool.close()

    def _read(self) -> None:
        try:
            with self.socket.makefile("rb", buffering=1 << 18) as lines:
                kind, self.request = decode(next(lines))
                if kind != "request":
                    raise InputError(f"expected a request, found {kind}")
                if self.request["verb"] == "grpo_step":
                    self.body = collect(_numbered(lines), stream.parse)
                else:
                    self.body = _prompts(lines)
        except R1Error as error:
            self.finish(error)
        except (OSError, StopIteration, ValueError, KeyError):
            # Gone before the request was whole, or not one of our clients: nothing has been started.
            self.cancelled.set()
            self.spool.close()
        else:
            self.dispatch(self)
        self._watch()

    def _watch(self) -> None:
        # Nothing more is read, so only a hang-up can be learnt: a client that goes away cancels its request.
        poll = select.poll()
        poll.register(self.socket, 0)
        poll.poll()
        self.cancelled.set()
        self.on_cancel()
        self.spool.close()

    def _write(self) -> None:
        with suppress(OSError):
            while data := self.spool.read():
                self.socket.sendall(data)
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR if self.cancelled.is_set() else socket.SHUT_WR)
        self.cancelled.wait()
        self.socket.close()


def _body(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        if line.startswith(b'{"r1_end"'):
            return
        yield line
    raise ConnectionError("the client went away in the middle of its request")


def _numbered(lines: Iterator[bytes]) -> Iterator[tuple[bytes, str]]:
    name, number = "stdin", 0
    for line in _body(lines):
        if line.startswith(MARK):
            kind, value = decode(line)
            if kind == "where":
                name, _, at = value.rpartition(":")
                number = int(at) - 1
                continue
        number += 1
        yield line.rstrip(b"\n"), f"{name}:{number}"


def _prompts(lines: Iterator[bytes]) -> list[tuple[Record, str]]:
    prompts = []
    for line in _body(lines):
        _, (record, where) = decode(line)
        prompts.append((as_prompt(record, where), where))
    return prompts
