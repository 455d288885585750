"""The far side of pool.py: a process that has imported the target once, and the workers that it forks.

The nursery never runs the target itself, so it is always there to fork a worker, to kill one and to tell of a death. It
ends, with everything below it, when the pool's end of its control socket closes. Nothing here decides about retries,
limits on wall-clock time or verdicts: pool.py does.
"""

import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

FRAME = struct.Struct("<q")  # from the pool: 0 and a socket to fork a worker, or the pid of a worker to kill
LARGEST_VALUE = 1 << 20
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serves the control socket that came as standard input until it closes; the settings are argv[1], as JSON."""
    settings = json.loads(sys.argv[1])
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _die_with_parent(settings["parent"])
    try:
        function = _find(settings["target"])
    except BaseException as error:
        _send(control, {"broken": f"cannot load {settings['target']}: {_name(error)}"})
        return
    # Workers share the pages of what is imported; a collection would copy them all.
    gc.collect()
    gc.freeze()
    news, wake = socket.socketpair()
    for end in (news, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    children: set[int] = set()
    with suppress(ConnectionError):  # the pool has closed its end, or is gone
        _serve(control, news, function, settings, children)
    signal.set_wakeup_fd(-1)
    for pid in children:
        _kill(pid)
    for pid in children:
        os.waitpid(pid, 0)


def _serve(control: socket.socket, news: socket.socket, function: Callable, settings: dict, children: set[int]) -> None:
    me = os.getpid()
    while True:
        ready, _, _ = select.select([control, news], [], [])
        if news in ready:
            news.recv(4096)
            _reap(control, children)
        if control in ready:
            frame, received, _, _ = socket.recv_fds(control, FRAME.size, 1)
            if not frame:
                return
            (pid,) = FRAME.unpack(frame)
            if pid and pid in children:
                _kill(pid)
            elif not pid:
                line = socket.socket(fileno=received[0])
                try:
                    born = os.fork()
                except OSError as error:
                    _send(control, {"broken": f"cannot start a worker: {error.strerror}"})
                    return
                if not born:
                    control.close()
                    _work(line, function, settings, me)
                line.close()
                children.add(born)
                _send(control, {"born": born})


def _reap(control: socket.socket, children: set[int]) -> None:
    with suppress(ChildProcessError):
        for pid, status, used in _ended():
            if pid in children:
                children.discard(pid)
                code = os.waitstatus_to_exitcode(status)
                _send(control, {"died": pid, "code": code, "cpu": used.ru_utime + used.ru_stime})


def _ended() -> Iterator[tuple[int, int, resource.struct_rusage]]:
    """Yields each child that has ended, its status and what it used, and kills what it has started."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        while (ended := os.wait4(-1, os.WNOHANG))[0]:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(ended[0], signal.SIGKILL)
            yield ended
        return
    while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        _kill(found.si_pid)  # while its number is still its own
        yield os.wait4(found.si_pid, 0)


def _work(line: socket.socket, function: Callable, settings: dict, nursery: int) -> NoReturn:
    """A worker's whole life: one JSON line in, one out, for each item; it ends when the line closes."""
    me = os.getpid()
    try:
        os.setpgid(0, 0)
        _die_with_parent(nursery)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPROF, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if settings["memory"] and sys.platform == "linux":  # macOS has the limit and refuses to set it
            resource.setrlimit(resource.RLIMIT_AS, (settings["memory"],) * 2)
        if settings["prepare"]:
            name, arguments = settings["prepare"]
            try:
                _find(name)(*arguments)
            except BaseException as error:
                _send(line, {"broken": str(error) or type(error).__name__})
                os._exit(1)
        _send(line, {"ready": me})
        for item in line.makefile("rb"):
            reply = _answer(function, json.loads(item), settings["cpu_seconds"])
            if os.getpid() != me:  # the target forked: only the one that was asked may answer
                os._exit(0)
            line.sendall(reply)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _answer(function: Callable, arguments: list, cpu_seconds: float | None) -> bytes:
    """One item's reply. The CPU limit kills the process, also within one long call into C."""
    begin = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds or 0.0)
    state, message, body = "done", "", "null"
    try:
        body = json.dumps(function(*arguments))
        if len(body) > LARGEST_VALUE:
            state, message, body = "error", f"ValueError: the value takes {len(body)} characters of JSON", "null"
    except MemoryError:
        state, message = "memory", "MemoryError"
    except BaseException as error:
        state, message = "error", _name(error)
    signal.setitimer(signal.ITIMER_PROF, 0.0)
    head = json.dumps([state, time.process_time() - begin, message])
    return f"{head[:-1]}, {body}]\n".encode()


def _find(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)


def _name(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:1000]
    except Exception:  # a message that cannot be made
        return type(error).__name__


def _send(line: socket.socket, message: dict) -> None:
    line.sendall(json.dumps(message).encode() + b"\n")


def _kill(pid: int) -> None:
    # The group takes along what a worker has started; a worker that has only just been forked may have none yet.
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _die_with_parent(parent: int) -> None:
    """Asks Linux to kill this process when its parent ends, however that ends; elsewhere the closed socket does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
