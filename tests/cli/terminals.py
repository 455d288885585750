"""Running r1 on a pseudo-terminal, step by step: what the tests of show and plot share."""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from conftest import ENVIRONMENT, R1

TERMINAL = {key: value for key, value in ENVIRONMENT.items() if key not in ("NO_COLOR", "LC_ALL", "LC_CTYPE", "LANG")}
TERMINAL |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PAGER": "cat"}


def plain(shown):
    """What a terminal shows, without what colours it."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


class Terminal:
    """r1 on a pseudo-terminal of 80 columns and 24 lines, as its standard output, if not told otherwise, and error."""

    def __init__(self, *arguments, env=None, stdin=subprocess.DEVNULL, stdout=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [*R1, *map(str, arguments)], stdin=stdin, stdout=stdout or slave, stderr=slave, env=TERMINAL | (env or {})
        )
        os.close(slave)
        self.seen = ""
        # A letter may come in two parts.
        self.decode = codecs.getincrementaldecoder("utf-8")().decode

    def until(self, pattern):
        """Reads until the pattern is found, or to the end for None; returns all that was seen."""
        deadline = time.monotonic() + 60
        while pattern is None or not re.search(pattern, self.seen):
            assert select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0], self.seen
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:  # the other end is closed
                data = b""
            if not data:
                assert pattern is None, self.seen
                break
            self.seen += self.decode(data)
        return self.seen

    def end(self):
        """All that was seen, and the exit code."""
        self.until(None)
        os.close(self.master)
        return self.seen.replace("\r\n", "\n"), self.process.wait(timeout=60)


class Screen:
    """A pseudo-terminal, and what it would show: carriage return, line end and erasing to the end of the line."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self.seen = ""

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 1 << 16).decode()
        return self.seen

    def lines(self):
        """The lines as a person sees them in the end."""
        lines, column = [""], 0
        for part in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+", self.read()):
            if part == "\r":
                column = 0
            elif part == "\n":
                lines.append("")
                column = 0
            elif part == "\x1b[K":
                lines[-1] = lines[-1][:column]
            else:
                lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part) :]
                column += len(part)
        return lines

    def close(self):
        os.close(self.master)
        os.close(self.slave)
