"""A process that DeepSpeed's launcher starts: rank 0 serves clients, the others follow it.

It hangs on two threads: the connection to the `r1 serve` that started the launcher, and that between the ranks. When
either ends, so does the process, whatever it is doing. Its only argument is what launch.py has packed.
"""

import os
import signal
import socket
import sys
import threading
import traceback
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from r1cli import ui
from r1cli.backend.base import EngineOptions
from r1cli.backend.launch import Rope, unpack
from r1cli.runs import Run


class Ending:
    """How this process ends, once; from whichever thread comes first."""

    def __init__(self, rope: Rope | None):
        self.rope = rope
        self._once = threading.Lock()

    def __call__(self, error: BaseException | str | None = None) -> NoReturn:
        """Tells the launching process the end or the error, and ends."""
        self._once.acquire()
        code = 0 if error is None else getattr(error, "code", 1)
        if error is None:
            said: dict[str, Any] = {"end": True}
        else:
            words = error
            if isinstance(error, BaseException):
                from r1cli.backend.ranks import describe

                words = describe(error)
            said = {"error": words, "code": code}
        if self.rope is not None:
            self.rope.say(said)
        # Not sys.exit: torch takes its time to unload, and other threads may still be in a collective.
        os._exit(code)


def main() -> NoReturn:
    """Runs a rank and never returns."""
    payload = unpack(sys.argv[1])
    ui.setup("serve", verbose=payload["verbose"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it comes to the process in the foreground, which says stop
    rank = int(os.environ["RANK"])
    rope = Rope.tie(payload, rank)
    end = Ending(rope)
    signal.signal(signal.SIGTERM, lambda *_: end())  # nothing to save yet
    if rope is not None:
        rope.watch(partial(os._exit, 1))
    try:
        run = Run.open(Path(payload["run"]))
        if rank:
            _write_to(run.path, rank)
        options = EngineOptions(**payload["options"])
        if rank:
            _follow(run, options, rope)
        else:
            _serve(run, options, rope, end)
    except BaseException as error:
        if not isinstance(error, SystemExit):
            _log(error)
        end(error)
    end()


def _write_to(run: Path, rank: int) -> None:
    """Sends everything that this rank and its libraries print to its log."""
    from r1cli.backend.ranks import log_path

    log = os.open(log_path(run, rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)


def _log(error: BaseException) -> None:
    from r1cli.errors import R1Error

    if isinstance(error, R1Error):
        ui.error(str(error))
    else:
        traceback.print_exception(error)


def _serve(run: Run, options: EngineOptions, rope: Rope | None, end: Ending) -> None:
    from r1cli.backend import joining
    from r1cli.backend.ranks import Ranked, Ranks
    from r1cli.backend.server import Server
    from r1cli.errors import R1Error

    place = joining.Place.from_environment()
    server: Server | None = None

    def lost(words: str) -> None:
        """A rank is gone: in a thread, since this process may hang in a collective with it."""
        message = f"{words}; {run.path} stands at {run.latest().name}, start again with r1 serve {run.path}"
        if server is not None:
            server.abandon(message)
        ui.error(message)
        end(R1Error(message))

    with run.lock():
        device = place.device(options.device)
        store = joining.open_store(place)
        links = joining.gather(place, store, run, options)
        ranks = Ranks(links, run.path, lost, partial(os.kill, os.getpid(), signal.SIGTERM))
        joining.form_group(place, store, device)
        if rope is not None:
            rope.say({"joined": True})
        make = partial(Ranked, ranks, place.near)
        server = Server(run, options._replace(device=device), make, pid=rope.pid if rope else None)
        server.serve()


def _follow(run: Run, options: EngineOptions, rope: Rope | None) -> None:
    from r1cli.backend import joining
    from r1cli.backend.follower import Follower
    from r1cli.backend.ranks import describe

    place = joining.Place.from_environment()
    store = joining.open_store(place)
    try:
        device = place.device(options.device)
    except Exception as error:
        joining.tell(place, store, error)
        raise
    options, link = joining.join(place, store, run, options)
    link.send({"host": socket.gethostname()})

    def ask_to_stop(*_: object) -> None:
        # In a thread: the one that is interrupted here may be sending, too.
        threading.Thread(target=link.send, args=({"stop": True},), daemon=True).start()

    signal.signal(signal.SIGTERM, ask_to_stop)
    follower = Follower(link, options._replace(device=device), world=place.world, near=place.near)
    try:
        joining.form_group(place, store, device)
        if rope is not None:
            rope.say({"joined": True})
        follower.obey()
    except BaseException as error:
        link.send({"failed": describe(error)})
        raise


if __name__ == "__main__":
    main()
