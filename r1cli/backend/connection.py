"""One client of a resident backend: its request read to the end, its answers spooled until it takes them.

The engine never waits for a reader: what a slow one has not taken goes to memory and then to a temporary file.
"""

import os
import select
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from r1cli import stream
from r1cli.backend.base import Lines
from r1cli.backend.protocol import MARK, decode, encode
from r1cli.errors import InputError, R1Error
from r1cli.records import Prompt, as_prompt, collect

IN_MEMORY = 32 << 20  # bytes of unread answers kept in memory per client
PIECE = 1 << 18  # bytes handed to a socket at once


def listen(address: Path) -> socket.socket:
    """A listening socket that only its owner may connect to."""
    address.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(address))
    address.chmod(0o600)
    listener.listen(64)
    return listener


class Spool:
    """A byte queue between one writer that never blocks and one reader that may be slow: memory first, then a file."""

    def __init__(self, limit: int = IN_MEMORY) -> None:
        self.limit = limit
        self.changed = threading.Condition()
        self.chunks: deque[bytes] = deque()
        self.held = 0  # bytes in chunks
        self.file: BinaryIO | None = None
        self.taken = self.written = 0  # places in the file
        self.closed = False
        self.last = b""

    def write(self, data: bytes) -> None:
        """Appends; raises OSError when the disk has no more room. After close() it does nothing."""
        with self.changed:
            if self.closed:
                return
            if self.file is None and self.held + len(data) <= self.limit:
                self.chunks.append(data)
                self.held += len(data)
            else:
                self._spill(data)
            self.changed.notify()

    def _spill(self, data: bytes) -> None:
        if self.file is None:
            self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by the reader
        view, at = memoryview(data), self.written
        while view:
            count = os.pwrite(self.file.fileno(), view, at)
            view, at = view[count:], at + count
        self.written = at

    def close(self, last: bytes = b"") -> None:
        """Says that nothing more will come but these last words, for which there is always room."""
        with self.changed:
            if not self.closed:
                self.last, self.closed = last, True
            self.changed.notify()

    def read(self) -> bytes:
        """The next bytes, waiting for them; empty at the end."""
        with self.changed:
            while not (self.chunks or self.taken < self.written or self.closed):
                self.changed.wait()
            if self.chunks:
                return self._from_memory()
            if self.taken < self.written:
                return self._from_file()
            data, self.last = self.last, b""
            return data

    def _from_memory(self) -> bytes:
        parts, size = [], 0
        while self.chunks and size < PIECE:
            parts.append(self.chunks.popleft())
            size += len(parts[-1])
        self.held -= size
        return b"".join(parts)

    def _from_file(self) -> bytes:
        data = os.pread(self.file.fileno(), min(PIECE, self.written - self.taken), self.taken)
        self.taken += len(data)
        if self.taken == self.written:  # all taken: back to memory, so that a long job does not grow a file
            self.file.close()
            self.file, self.taken, self.written = None, 0, 0
        return data


class Connection:
    """A client's request and where its answers go."""

    def __init__(
        self,
        connection: socket.socket,
        dispatch: Callable[["Connection"], None],
        read_examples: Callable[["Connection", Lines, Lines | None], Any],
    ):
        """`dispatch` takes the connection when its request is whole; `read_examples` reads the body of an sft.

        Both are called in the connection's own thread: tokenising may take minutes, and the engine has other work.
        """
        self.socket = connection
        self.dispatch, self.read_examples = dispatch, read_examples
        self.spool = Spool()
        self.request: dict[str, Any] = {}
        self.body: Any = None
        self.cancelled = threading.Event()
        self.delivered = threading.Event()
        self.on_cancel: Callable[[], None] = lambda: None
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._write, daemon=True).start()

    def send(self, data: bytes) -> None:
        """Queues bytes for the client; when there is no room for them, its request ends with an error."""
        try:
            self.spool.write(data)
        except OSError as error:
            self.finish(R1Error(f"the backend has no room to keep what you have not read yet: {error.strerror}"))
            self.on_cancel()

    def note(self, message: str) -> None:
        """Queues one line for the client's stderr."""
        self.send(encode("note", message))

    def finish(self, error: R1Error | None = None) -> None:
        """Ends the answer, with an error that the client raises as its own; only the first end counts."""
        if error is None:
            self.spool.close(encode("end", True))
        else:
            self.spool.close(encode("error", {"code": error.code, "message": str(error)}))

    def _read(self) -> None:
        try:
            with self.socket.makefile("rb", buffering=PIECE) as lines:
                kind, self.request = decode(next(lines))
                if kind != "request":
                    raise InputError(f"expected a request, found {kind}")
                body = _body(lines)
                if self.request["verb"] == "grpo_step":
                    self.body = collect(_numbered(body), stream.parse)
                elif self.request["verb"] == "sft":
                    held = _numbered(body) if self.request["validated"] else None
                    self.body = self.read_examples(self, _numbered(body), held)
                    for _ in body:  # what is left unread would turn the end of the connection into an error
                        pass
                else:
                    self.body = _prompts(body)
            self.dispatch(self)
        except R1Error as error:
            self.finish(error)
        except (OSError, StopIteration):  # gone before the request was whole: nothing has been started
            self.spool.close()
        except Exception as error:  # not one of our clients, or a defect of ours: it must not be left waiting
            self.finish(R1Error(f"the backend could not read the request ({type(error).__name__}: {error})"))
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
        self.delivered.set()
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
    for line in lines:
        if line.startswith(MARK):
            kind, value = decode(line)
            if kind == "part":
                return
            if kind == "where":
                name, _, at = value.rpartition(":")
                number = int(at) - 1
                continue
        number += 1
        yield line.rstrip(b"\n"), f"{name}:{number}"


def _prompts(lines: Iterator[bytes]) -> list[Prompt]:
    return [Prompt(as_prompt(stream.parse(raw, where), where), where, raw) for raw, where in _numbered(lines)]
