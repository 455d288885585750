"""The connection between rank 0 and another rank: whole messages both ways, and its end noticed at once.

Plain TCP beside torch.distributed, since a rank that waits inside a collective times out when nobody has work for it.
Messages are JSON objects behind their length. Both ends prove that they know the run's token before anything else is
read. What the messages say is the business of ranks.py and follower.py.
"""

import hmac
import secrets
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from r1cli.errors import R1Error

HEADER = struct.Struct("!Q")
GREETING = 4096  # bytes of a message from somebody who has not proved anything yet
# A stranger who says nothing keeps ranks waiting, which come one after the other.
WELCOME_SECONDS, GREET_SECONDS = 5.0, 120.0
# A machine that lost its power says nothing: it counts as gone after a minute and a half.
KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 6}


class Link:
    """One end of a connection; any thread may send, one thread reads."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self._sending = threading.Lock()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)

    def send(self, message: dict[str, Any] | bytes) -> None:
        """Sends a message, or one that `pack` has made bytes of; to an end that is gone it does nothing."""
        data = message if isinstance(message, bytes) else pack(message)
        with self._sending, suppress(OSError):  # the reader is told of the end, and knows what it means
            self.connection.sendall(HEADER.pack(len(data)))
            self.connection.sendall(data)

    def receive(self, limit: int | None = None) -> dict[str, Any]:
        """The next message; raises OSError or ValueError when there is none, or one of more than `limit` bytes."""
        (size,) = HEADER.unpack(self._exactly(HEADER.size))
        if limit is not None and size > limit:
            raise ValueError(f"a message of {size} bytes")
        return orjson.loads(self._exactly(size))

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self.connection.recv_into(view)
            if not count:
                raise ConnectionResetError("the connection has ended")
            view = view[count:]
        return data

    def listen(self, heard: Callable[[dict[str, Any]], None], ended: Callable[[], None]) -> None:
        """Hands every message to `heard` and the end to `ended`, in a thread that waits for nothing else."""

        def read() -> None:
            try:
                while True:
                    heard(self.receive())
            except (OSError, ValueError):
                ended()

        threading.Thread(target=read, daemon=True).start()

    def close(self) -> None:
        """Hangs up, also under a thread that reads."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def pack(message: dict[str, Any]) -> bytes:
    """A message as bytes; dataclasses become objects, arrays lists."""
    return orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)


def describe(error: BaseException) -> str:
    """An error in one line, for people on other machines."""
    words = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"out of memory ({words})" if words else "out of memory"
    return words if isinstance(error, R1Error) else f"{type(error).__name__}: {words}"[:500]


def welcome(connection: socket.socket, token: bytes) -> tuple[int, Link] | None:
    """Rank 0's side of the greeting: the rank that called and its link, None for a stranger."""
    connection.settimeout(WELCOME_SECONDS)
    link = Link(connection)
    nonce = secrets.token_hex(16)
    try:
        link.send({"nonce": nonce})
        answer = link.receive(GREETING)
        rank, theirs = int(answer["rank"]), str(answer["nonce"])
        known = hmac.compare_digest(str(answer["proof"]), _proof(token, "rank", rank, nonce, theirs))
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        connection.close()
        return None
    link.send({"proof": _proof(token, "zero", rank, theirs)})
    connection.settimeout(None)
    return rank, link


def greet(connection: socket.socket, token: bytes, rank: int) -> Link:
    """A rank's side of the greeting; raises R1Error when the other end is not the rank 0 of this run."""
    connection.settimeout(GREET_SECONDS)
    link = Link(connection)
    nonce = secrets.token_hex(16)
    try:
        theirs = str(link.receive(GREETING)["nonce"])
        link.send({"rank": rank, "nonce": nonce, "proof": _proof(token, "rank", rank, theirs, nonce)})
        known = hmac.compare_digest(str(link.receive(GREETING)["proof"]), _proof(token, "zero", rank, nonce))
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        connection.close()
        raise R1Error("what answers in the place of rank 0 does not know the run's token")
    connection.settimeout(None)
    return link


def _proof(token: bytes, *words: object) -> str:
    return hmac.new(token, " ".join(map(str, words)).encode(), "sha256").hexdigest()
