"""A TCP proxy in front of a server that breaks the connection of every so many requests, before or amid the answer."""

import itertools
import socket
import threading
from contextlib import suppress


class DroppingProxy:
    """A context manager; `url` leads to the server at `port` on loopback, `dropped` counts the broken connections."""

    def __init__(self, port: int, *, every: int):
        self.port, self.every = port, every
        self.dropped = 0
        self._requests = itertools.count(1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> "DroppingProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """One connection, whose client waits for each answer before it asks again."""
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as server:
            amid = threading.Event()
            threading.Thread(target=self._answer, args=(server, client, amid), daemon=True).start()
            while data := client.recv(1 << 16):
                if data.startswith(b"POST"):
                    number = next(self._requests)
                    if number % (2 * self.every) == 0:
                        self.dropped += 1
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    if number % self.every == 0:
                        amid.set()
                server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket, amid: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if amid.is_set():
                    self.dropped += 1
                    client.sendall(data[: len(data) // 2])
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
