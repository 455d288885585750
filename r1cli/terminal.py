"""Who may draw on a terminal that several programs share, as the stages of a pipe do: one progress line at a time.

While a pager has the screen nobody draws. Both are locks on the terminal itself: they end with the process, whatever
ends it, and need no file. Where there are none (not on Linux; the terminal of another user) everybody may draw.
"""

import fcntl
import os
import struct
from contextlib import suppress

# The bytes of the terminal's file that are locked.
LINE, PAGER = 0, 1

_FLOCK = "hhqqi"  # struct flock: type, whence, start, length, process
_opened: dict[str, int] = {}


def take(what: int, fd: int = 2) -> bool:
    """Takes LINE or PAGER on the terminal of a descriptor, unless another process has it; True where it is ours."""
    try:
        _lock("F_OFD_SETLK", fcntl.F_WRLCK, what, fd)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):
        return True
    return True


def release(what: int) -> None:
    """Lets another process have it, on every terminal where it is ours."""
    for number in _opened.values():
        with suppress(OSError, AttributeError):
            _lock("F_OFD_SETLK", fcntl.F_UNLCK, what, number)


def taken(what: int, fd: int = 2) -> bool:
    """Whether another process has it."""
    try:
        found = _lock("F_OFD_GETLK", fcntl.F_WRLCK, what, fd)
    except (OSError, AttributeError):
        return False
    return struct.unpack(_FLOCK, found)[0] != fcntl.F_UNLCK


def _lock(command: str, kind: int, what: int, fd: int) -> bytes:
    """Raises OSError where there are no locks, BlockingIOError where another has this one."""
    name = os.ttyname(fd)
    # A description of our own: a lock on the shared one would be that of the whole pipe.
    if name not in _opened:
        _opened[name] = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return fcntl.fcntl(_opened[name], getattr(fcntl, command), struct.pack(_FLOCK, kind, os.SEEK_SET, what, 1, 0))
