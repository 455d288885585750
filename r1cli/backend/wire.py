"""One HTTP connection: opened when needed, kept open between requests, directly or through the proxy that is set.

What is sent over it and what is tried again is decided in api.py.
"""

import http.client
import socket
import urllib.parse
import urllib.request
from contextlib import suppress
from typing import Any, NamedTuple

from r1cli.errors import InputError, R1Error

LARGEST_ANSWER = 256 << 20


class Address(NamedTuple):
    """Where a server is."""

    secure: bool
    host: str
    port: int
    prefix: str  # the path of the URL, without a slash at its end


class Wire:
    """A connection of one worker; `seconds` are for opening it and for each read."""

    def __init__(self, address: Address, seconds: tuple[float, float]):
        self.address, self.seconds = address, seconds
        self.connection: http.client.HTTPConnection | None = None
        self.gone = False
        self.target = address.prefix

    def exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Sends a request and reads the whole answer: status, headers, body."""
        kept = self.connection is not None
        try:
            return self._once(method, path, body, headers)
        except (ConnectionError, http.client.BadStatusLine):
            if not kept or self.gone:
                raise
        # The server closed a connection that lay idle, before it saw the request: that is no failure of it.
        return self._once(method, path, body, headers)

    def _once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        try:
            if self.connection is None:
                self.connection = self._open()
            self.connection.request(method, self.target + path, body, headers)
            response = self.connection.getresponse()
            text = bytearray()
            while part := response.read(1 << 20):
                text += part
                if len(text) > LARGEST_ANSWER:
                    raise R1Error(f"{self.address.host}: an answer of more than {LARGEST_ANSWER >> 20} MiB")
            if response.length:  # http.client says nothing when it is asked for so many bytes and gets fewer
                raise http.client.IncompleteRead(bytes(text), response.length)
            if not (text or response.chunked or "Content-Length" in response.headers):
                raise http.client.IncompleteRead(b"")  # cut amid the headers, which it takes for their end
            if response.will_close:
                self.drop()
            return response.status, response.headers, bytes(text)
        except BaseException:
            self.drop()
            raise

    def _open(self) -> http.client.HTTPConnection:
        if self.gone:
            raise ConnectionAbortedError("closed")
        secure, host, port, prefix = self.address
        proxy = _proxy(secure, host)
        near = (proxy.hostname, proxy.port or 80) if proxy else (host, port)
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(*near, timeout=self.seconds[0])
        if proxy and secure:
            connection.set_tunnel(host, port)
        elif proxy:
            self.target = f"http://{_bracketed(host)}:{port}{prefix}"
        connection.connect()
        connection.sock.settimeout(self.seconds[1])
        # A long thought is a long silence: only this tells a busy server from one that is gone.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def drop(self) -> None:
        """Closes the connection; the next request opens another."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def cut(self) -> None:
        """Ends the request that another thread is in the middle of."""
        self.gone = True
        connection = self.connection
        with suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def split(url: str) -> Address:
    """The parts of a server's URL; raises InputError for one that is none or that carries a key."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        where = url.rpartition("@")[2].partition("?")[0].partition("#")[0]  # never a key or a password
        raise InputError(f"{where}: no URL of a server ({error})") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(f"the URL of {parts.hostname} holds more than an address; a key belongs into R1_API_KEY")
    if not parts.hostname:
        raise InputError(f"{url}: no URL of a server; expected http://HOST:PORT/v1 or https://HOST/v1")
    secure = parts.scheme.lower() == "https"
    return Address(secure, parts.hostname, port or (443 if secure else 80), parts.path.rstrip("/"))


def _proxy(secure: bool, host: str) -> urllib.parse.SplitResult | None:
    """The proxy that the environment names for a host; none for this machine."""
    url = urllib.request.getproxies().get("https" if secure else "http")
    if not url or host in ("localhost", "::1") or host.startswith("127.") or urllib.request.proxy_bypass(host):
        return None
    parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
    return parts if parts.hostname else None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
