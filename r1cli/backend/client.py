"""The thin client of a resident backend: bytes to a socket and back, without torch or a model.

It sends and receives at the same time, so that neither side can wait for the other for ever.
"""

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from r1cli import stream, ui
from r1cli.backend.base import Lines, Prompts
from r1cli.backend.protocol import END, MARK, connect, decode, encode
from r1cli.errors import InputError, R1Error
from r1cli.records import Prompt
from r1cli.runs import Run


class Client:
    """One connection per request to the backend that serves a run."""

    def __init__(self, run: Run):
        self.run = run
        self.connection = connect(run)

    def sample(self, request: dict[str, Any], prompts: Prompts) -> Iterator[bytes]:
        """Yields rollout lines as the backend completes groups."""
        body = _forward((prompt.line, prompt.where) for prompt in prompts or ())
        return self._exchange({"verb": "sample", "own": prompts is None, **request}, body)

    def grpo_step(self, request: dict[str, Any], lines: Lines) -> Iterator[bytes]:
        """Forwards rewarded rollouts unparsed and yields the update's metrics lines."""
        return self._exchange({"verb": "grpo_step", **request}, _forward(lines))

    def sft(self, request: dict[str, Any], lines: Lines, validation: Lines | None) -> Iterator[bytes]:
        """Forwards examples unparsed and yields the metrics line of each update."""
        body = chain(_forward(lines), (encode("part", "validation"),), _forward(validation or ()))
        return self._exchange({"verb": "sft", "validated": validation is not None, **request}, body)

    def distill(self, request: dict[str, Any], prompts: list[Prompt]) -> Iterator[bytes]:
        """Forwards prompts and yields the metrics line of each update."""
        body = _forward((prompt.line, prompt.where) for prompt in prompts)
        return self._exchange({"verb": "distill", **request}, body)

    def status(self) -> dict[str, Any]:
        """What the backend says of itself."""
        (line,) = self._exchange({"verb": "status"}, ())
        return json.loads(line)

    def close(self) -> None:
        """Hangs up, which cancels a request that is still under way."""
        self.connection.close()

    def _exchange(self, request: dict[str, Any], body: Iterable[bytes]) -> Iterator[bytes]:
        failure: list[BaseException] = []

        def send() -> None:
            try:
                self.connection.sendall(encode("request", request))
                for data in body:
                    self.connection.sendall(data)
                self.connection.sendall(END)
            except OSError:
                return  # the backend has hung up: what it said first is read below
            except BaseException as error:
                failure.append(error)
                with suppress(OSError):
                    self.connection.shutdown(2)

        # Sending and receiving at once: a judge in the middle of a pipe reads answers before its input has ended.
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        ended = False
        with self.connection.makefile("rb", buffering=1 << 18) as answers:
            try:
                for line in answers:
                    if not line.startswith(MARK):
                        if not line.endswith(b"\n"):
                            break
                        yield line
                        continue
                    kind, value = decode(line)
                    if kind == "note":
                        ui.say(value)
                    elif kind == "error":
                        raise (InputError if value["code"] == 2 else R1Error)(value["message"])
                    elif kind == "end":
                        ended = True
                        break
            except ConnectionError:
                ended = False
        if failure:
            raise failure[0]
        if not ended:
            raise R1Error(
                f"the backend of {self.run.path} died in the middle of the request, see {self.run.path}/serve.log; "
                f"the run stands at its last saved step; restart with r1 serve {self.run.path} --detach"
            )


def _forward(lines: Lines) -> Iterator[bytes]:
    # The backend numbers the lines itself and needs only to be told when the numbering jumps.
    name, number = "", 0
    for raw, where in lines:
        if raw.startswith(MARK):
            stream.parse(raw, where)  # refuses it: such a line would be taken for one of the protocol's
        file, _, at = where.rpartition(":")
        if file != name or int(at) != number + 1:
            name = file
            yield encode("where", where)
        number = int(at)
        yield raw + b"\n"
