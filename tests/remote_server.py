"""An OpenAI-compatible server on loopback whose answers a test scripts: delays, refusals, cut and broken answers."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Request(NamedTuple):
    """What the server was asked: the path below /v1, the body, the headers, the client's port, how many came before."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    client: int
    number: int

    @property
    def question(self) -> str:
        """The text of a completion request, or of the last message of a chat."""
        return self.body["prompt"] if "prompt" in self.body else self.body["messages"][-1]["content"]


class Reply(NamedTuple):
    """An answer; `cut` closes the connection after so many bytes of the body; 0: before any byte of the
    answer, -1: amid its headers.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    cut: int | None = None
    close: bool = False  # closes the connection afterwards without having said so


def chat(content: str | None, *, finish: str | None = "stop", usage: dict[str, int] | None = None, **message) -> Reply:
    """A chat completion; further keywords become keys of its message (reasoning_content, ...)."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    return as_json({"object": "chat.completion", "choices": [choice], **({"usage": usage} if usage else {})})


def text(content: str, *, finish: str = "stop", **choice) -> Reply:
    """A text completion; further keywords become keys of its choice (stop_reason, ...)."""
    return as_json({"choices": [{"index": 0, "finish_reason": finish, "text": content, **choice}]})


def error(status: int, message: str, **headers: str) -> Reply:
    """A refusal in OpenAI's form; Retry_After="1" becomes the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return as_json({"error": {"message": message, "type": "test"}}, status, named)


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Any JSON as an answer."""
    return Reply(json.dumps(value).encode(), status, headers or {})


class FakeServer:
    """A context manager: serves `answer(request)` for POST, and `models` for GET /v1/models (None: 404)."""

    def __init__(self, answer: Callable[[Request], Reply], models: tuple[Any, ...] | None = ("fake",)):
        self.answer, self.models = answer, models
        self.requests: list[Request] = []
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                known = [model if isinstance(model, dict) else {"id": model} for model in outer.models or ()]
                found = self.path == "/v1/models" and outer.models is not None
                self.reply(as_json({"object": "list", "data": known}) if found else error(404, "Not Found"))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    request = Request(
                        self.path.removeprefix("/v1"), body, dict(self.headers), self.client_address[1],
                        len(outer.requests),
                    )  # fmt: skip
                    outer.requests.append(request)
                    outer.busy += 1
                    outer.most_busy = max(outer.busy, outer.most_busy)
                try:
                    reply = outer.answer(request)
                finally:
                    with outer.lock:
                        outer.busy -= 1
                self.reply(reply)

            def reply(self, reply: Reply) -> None:
                with suppress(ConnectionError):
                    if reply.cut == -1:
                        self.send_response(reply.status)
                        self.flush_headers()
                    elif reply.cut != 0:
                        self.send_response(reply.status)
                        for name, value in reply.headers.items():
                            self.send_header(name, value)
                        self.send_header("Content-Length", str(len(reply.body)))
                        self.end_headers()
                        self.wfile.write(reply.body[: reply.cut])
                        self.wfile.flush()
                    if reply.cut is not None or reply.close:
                        self.connection.shutdown(socket.SHUT_RDWR)
                        self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.listener = Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.listener.server_address[1]}/v1"

    def __enter__(self) -> "FakeServer":
        threading.Thread(target=self.listener.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown()
        self.listener.server_close()
