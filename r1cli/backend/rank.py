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
from typing import NoReturn

from r1cli import ui
from r1cli.backend.base import EngineOptions
from r1cli.backend.launch import Rope, log_path, unpack
from r1cli.backend.links import describe
from r1cli.runs import Run


class Ending:
    """How this process ends, once; from whichever thread comes first."""

    def __init__(self) -> None:
        self.rope: Rope | None = None
        self._once = threading.Lock()

    def __call__(self, error: BaseException | None = None) -> NoReturn:
        """Tells the process that started the launcher of the end, or of the error, and ends."""
        self._once.acquire()
        code = 0 if error is None else getattr(error, "code", 1)
        if self.rope is not None:
            self.rope.say({"end": True} if error is None else {"error": describe(error), "code": code})
        # Not sys.exit: torch takes its time to unload, and other threads may still be in a collective.
        os._exit(code)

    def at_once(self, *_: object) -> None:
        """As a signal's handler, while there is nothing to save; it may come in the middle of an end.

        That is no good end: the launcher sends the signal, too, when another rank has failed.
        """
        if not self._once.locked():
            self._once.acquire()
            if self.rope is not None:
                self.rope.say({"stopped": True})
            os._exit(1)


def main() -> NoReturn:
    """Runs a rank and never returns."""
    payload = unpack(sys.argv[1])
    ui.setup("serve", verbose=payload["verbose"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it comes to the process in the foreground, which says stop
    rank = int(os.environ["RANK"])
    end = Ending()
    if not rank:  # another one waits for rank 0 in calls that no handler interrupts: the signal just ends it
        signal.signal(signal.SIGTERM, end.at_once)
    rope = end.rope = Rope.tie(payload, rank)
    if rope is not None:
        rope.watch(partial(os._exit, 1))
    try:
        run = Run.open(Path(payload["run"]))
        if rank:
            _write_to(run.path, rank)
        options = EngineOptions(**payload["options"])
        if rank:
            _follow(run, options, rope, end)
        else:
            _serve(run, options, rope, end)
    except BaseException as error:
        _log(error, rank)
        end(error)
    end()


def _write_to(run: Path, rank: int) -> None:
    """Sends everything that this rank and its libraries print to its log."""
    log = os.open(log_path(run, rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)


def _log(error: BaseException, rank: int) -> None:
    from r1cli.errors import R1Error

    if not isinstance(error, R1Error):
        traceback.print_exception(error)
    elif rank:  # what rank 0 says, the process that started it says
        ui.error(str(error))


def _serve(run: Run, options: EngineOptions, rope: Rope | None, end: Ending) -> None:
    from r1cli.backend import joining
    from r1cli.backend.ranked import Ranked
    from r1cli.backend.ranks import Ranks
    from r1cli.backend.server import Server
    from r1cli.errors import R1Error

    place = joining.Place.from_environment()
    server: Server | None = None

    def lost(words: str) -> None:
        """A rank is gone: in a thread, since this process may hang in a collective with it."""
        message = f"{words}; {run.path} stands at {run.latest().name}, start again with r1 serve {run.path}"
        if server is not None:
            server.abandon(message)
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


def _follow(run: Run, options: EngineOptions, rope: Rope | None, end: Ending) -> None:
    from r1cli.backend import joining
    from r1cli.backend.follower import Follower
    from r1cli.errors import R1Error

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

    def orphaned() -> None:
        words = f"rank 0 at {place.host} is gone; see {run.path}/serve.log"
        ui.error(words)
        end(R1Error(words))

    options = options._replace(device=device)
    follower = Follower(link, options, orphaned, world=place.world, near=place.near)
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
