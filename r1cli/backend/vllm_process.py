"""The process of one vLLM engine of a fleet (vllm_fleet.py): takes orders, puts out samples, ends with its parent."""

import os
import queue
import threading
import traceback
from multiprocessing.connection import Connection

from r1cli import ui
from r1cli.backend.vllm_engine import VllmEngine, first_line
from r1cli.errors import R1Error

# How often an idle engine looks whether its workers are alive.
HEARTBEAT_SECONDS = 0.5


def main(descriptor: int, verbose: bool) -> None:
    """Serves orders from the connection until it is told to end, or its other side is gone."""
    os.set_inheritable(descriptor, False)
    ui.setup("vllm", verbose=verbose)
    connection = Connection(descriptor)
    inbox: queue.SimpleQueue[tuple] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, inbox), daemon=True).start()
    engine = VllmEngine()
    asking = None
    while True:
        try:
            asking = None
            for verb, number, arguments in _taken(inbox, wait=not engine.busy):
                asking = number
                if verb == "close":
                    engine.close()
                    os._exit(0)  # at once: other threads of vLLM have nothing to say any more
                value = _obey(engine, verb, arguments)
                if number is not None:
                    connection.send((False, number, value))
            asking = None
            if engine.busy:
                parts = engine.step()
                if parts:
                    connection.send((False, None, parts))
            elif engine.running:
                engine.check()
        except BrokenPipeError:
            os._exit(1)
        except Exception as error:
            ui.detail(traceback.format_exc())
            words = str(error) if isinstance(error, R1Error) else f"vLLM failed: {first_line(error)}"
            connection.send((True, asking, words))
            if engine.running and _broken(engine):
                os._exit(1)


def _obey(engine: VllmEngine, verb: str, arguments: tuple) -> object:
    match verb:
        case "start":
            return engine.start(*arguments, lambda text: None)
        case "take":
            parcel, seals, version, asleep = arguments
            return engine.take(parcel, seals, version, asleep=asleep)
        case "probe":
            return engine.probe(*arguments)
        case "add":
            return engine.add(*arguments)
        case "abort":
            return engine.abort(*arguments)
        case "sleep":
            return engine.sleep()
    raise R1Error(f"the engine does not know the order {verb}")


def _taken(inbox: queue.SimpleQueue, *, wait: bool) -> list[tuple]:
    """The orders that have come; an idle engine waits a moment for one."""
    orders = []
    try:
        while True:
            orders.append(inbox.get(block=wait and not orders, timeout=HEARTBEAT_SECONDS))
    except queue.Empty:
        return orders


def _broken(engine: VllmEngine) -> bool:
    try:
        engine.check()
    except R1Error:
        return True
    return False


def _read(connection: Connection, inbox: queue.SimpleQueue) -> None:
    """Reads at all times, so that a parent that sends never waits for an engine that does; ends with the parent."""
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)
