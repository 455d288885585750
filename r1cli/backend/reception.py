"""Where clients of a resident backend come in: a Unix socket, a thread that accepts, and a word to each at the end."""

import errno
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from r1cli.backend.connection import Connection, listen
from r1cli.backend.protocol import peer_user
from r1cli.errors import R1Error

# How long a backend that ends waits for clients to take what is theirs.
LAST_WORDS_SECONDS = 2.0


class Reception:
    """Listens at an address; `welcome` makes a connection of each socket of a process of the same user."""

    def __init__(self, address: Path, welcome: Callable[[socket.socket], Connection]):
        self.address, self.welcome = address, welcome
        self.connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self.listener = listen(address)
        self.acceptor = threading.Thread(target=self._accept, daemon=True)

    def open(self) -> None:
        """Lets clients in from now on."""
        self.acceptor.start()

    def close(self) -> None:
        """Lets nobody in any more; those who are in stay."""
        self.address.unlink(missing_ok=True)
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        if self.acceptor.ident is not None:
            self.acceptor.join(1.0)

    def dismiss(self, ended: R1Error) -> None:
        """Ends all requests that are not finished, and gives their clients a moment to take what is theirs."""
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        for connection in list(self.connections):
            connection.finish(ended)
            connection.delivered.wait(max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError as error:
                if error.errno == errno.EINVAL:  # shut down
                    return
                time.sleep(0.1)  # too many open files, most likely
                continue
            if peer_user(connection) != os.getuid():
                connection.close()
                continue
            self.connections.add(self.welcome(connection))
