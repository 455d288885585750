"""JSON lines in and out, with the manners of a Unix filter.

Standard output is taken away from every library before it can print there; a reader that goes away ends the work
quietly; a line that is not a record is an error with its file and line number. What records mean is the business of
records.py.
"""

import errno
import fcntl
import json
import os
import re
import select
import stat
import sys
import termios
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from r1cli.errors import InputError, NothingToRead, R1Error, ReaderGone, nearest_file

_taken: dict[str, int] = {}
_members = json.JSONDecoder(parse_int=str)  # Python refuses to convert integers of thousands of digits
_space = re.compile(r"[ \t\r\n]*")


def take_stdout() -> int:
    """Moves the real standard output to a private descriptor and points fd 1 at stderr for everyone else.

    The private descriptor is close-on-exec and closed in forked children: an orphaned worker that held it would keep
    the next stage of the pipe waiting for an end of file that does not come. It is -1 when stdout was closed.
    """
    if "fd" not in _taken:
        try:
            _taken["fd"] = os.dup(1)
        except OSError:
            _taken["fd"] = -1
        os.dup2(2, 1)
        os.register_at_fork(after_in_child=lambda: suppress_close(_taken["fd"]))
    return _taken["fd"]


def suppress_close(fd: int) -> None:
    """Closes a descriptor that may be closed already."""
    with suppress(OSError):
        os.close(fd)


class Writer:
    """Writes lines to the taken standard output, or to FILE by way of FILE.part and a rename.

    As a context manager it publishes the file only when the block ends well; otherwise the .part stays for inspection.
    """

    def __init__(self, path: Path | None = None):
        self.path = self.part = path
        self.direct = path is None or (path.exists() and not path.is_file())
        self.name = "standard output" if path is None else str(path)
        if path is None:
            self.fd = take_stdout()
            if self.fd < 0:
                raise R1Error("standard output is closed; redirect it to a file or use -o FILE")
            return
        # A device or a pipe is written to as it is, and of a link the file behind it: the rename would replace them.
        part = path
        if not self.direct:
            self.path = path.resolve()
            self.part = part = self.path.with_name(self.path.name + ".part")
        try:
            opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise R1Error(f"cannot write {part}: {error.strerror}") from None
        # Above 2, in case stdout was closed; and before fd 1 is taken, for the path may be /dev/stdout.
        self.fd = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 3)
        os.close(opened)
        take_stdout()

    def write(self, data: bytes) -> None:
        """Writes whole lines; raises ReaderGone when the reader has gone, R1Error when the disk is full."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except OSError as error:
                self._fail(error)

    def record(self, record: dict[str, Any]) -> None:
        """Writes one record as one line."""
        import orjson  # not at the top: a client that only passes bytes on does not pay for it

        self.write(orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")

    def reader_gone(self) -> bool:
        """Whether the pipe's other end is closed, learnt without writing."""
        poll = select.poll()
        poll.register(self.fd, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))  # macOS says HUP

    def _fail(self, error: OSError) -> None:
        if error.errno == errno.EPIPE:
            raise ReaderGone from None
        kept = "" if self.direct else f"; what was written stays in {self.part}"
        raise R1Error(f"cannot write to {self.name}: {error.strerror}{kept}") from None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            try:
                if not self.direct:
                    os.fsync(self.fd)
                os.close(self.fd)
            except OSError as error:
                # /dev/full and network file systems tell only now.
                self._fail(error)
            if self.part is not None and self.path is not None and not self.direct:
                os.replace(self.part, self.path)
        else:
            suppress_close(self.fd)
        if self.path is None:
            _taken["fd"] = -1


class Line(NamedTuple):
    """One input line: its bytes without the newline, the parsed object, and `file:line` for messages."""

    raw: bytes
    record: dict[str, Any]
    where: str


# What to do with a file that is one JSON array.
ARRAY = "; a JSON array becomes prompts by r1 prompts FILE, lines by jq -c '.[]' FILE"


def parse(raw: bytes, where: str) -> dict[str, Any]:
    """Parses one line into an object; raises InputError that says what is wrong with it."""
    import orjson

    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if b"NaN" in raw or b"Infinity" in raw:
            raise InputError(f"{where}: NaN and Infinity are not JSON; write null for a number that failed") from None
        torn = raw.lstrip().startswith(b"{") and not raw.rstrip().endswith(b"}")
        hint = "; the line is torn, or its object goes on in the next (jq -c writes one a line)" if torn else ""
        hint = ARRAY if raw.lstrip().startswith(b"[") else hint
        raise InputError(f"{where}: not JSON ({error.msg}, column {error.colno}){hint}") from None
    if not isinstance(record, dict):
        hint = ARRAY if isinstance(record, list) else ""
        raise InputError(f"{where}: expected one JSON object per line, found {type(record).__name__}{hint}")
    if raw.startswith(b'{"r1_'):
        raise InputError(f'{where}: keys that begin with "r1_" are reserved; rename the field')
    return record


def without(raw: bytes, keys: Collection[str]) -> bytes:
    """A record's line without some of its top-level keys; all others stay byte for byte as they came.

    The line must be one that `parse` accepts.
    """
    text, members = raw.decode(), []
    place = text.index("{") + 1
    while text[begin := _past_space(text, place)] != "}":
        key, end = _members.raw_decode(text, begin)
        _, end = _members.raw_decode(text, _past_space(text, text.index(":", end) + 1))
        end = _past_space(text, end)
        if key not in keys:
            members.append(text[place:end])
        place = end + (text[end] == ",")
    return ("{" + ",".join(members) + "}").encode()


def _past_space(text: str, place: int) -> int:
    found = _space.match(text, place)
    return found.end() if found else place


def read(
    files: Iterable[Path],
    *,
    check: Callable[[dict[str, Any], str], dict[str, Any]] = lambda record, _: record,
    skip_bad: bool = False,
) -> Iterator[Line]:
    """Yields the records of the files in turn (`-` or no file: standard input); empty lines are passed over.

    `check` takes a record and its place, and gives the record to use. Raises InputError for a bad line, or with
    skip_bad counts it and says the count on stderr at the end.
    """
    skipped = 0
    for raw, where in raw_lines(files):
        try:
            record = check(parse(raw, where), where)
        except InputError:
            if not skip_bad:
                raise
            skipped += 1
            continue
        yield Line(raw, record, where)
    if skipped:
        from r1cli import ui

        ui.warn(f"skipped {skipped} bad lines")


def raw_lines(files: Iterable[Path]) -> Iterator[tuple[bytes, str]]:
    """Yields the lines of the files in turn, unparsed and without their newline, with `file:line`."""
    for name, source in open_inputs(files):
        for number, raw in enumerate(source, 1):
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")  # the mark that Windows programs put in front
            if raw.strip():
                yield raw.rstrip(b"\r\n"), f"{name}:{number}"


def piped_in() -> bool:
    """Whether standard input is a pipe, and so another program of ours may be talking to the same terminal."""
    try:
        return stat.S_ISFIFO(os.fstat(0).st_mode)
    except OSError:
        return False


def records_wait() -> bool:
    """Whether standard input has something that looks like records and that nobody has read; it stays unread.

    A file that goes on with an object, or a pipe in which there is anything: what a loop of the shell or a service
    gives its commands is mostly neither.
    """
    try:
        mode = os.fstat(0).st_mode
        if stat.S_ISREG(mode):
            return os.pread(0, 1, os.lseek(0, 0, os.SEEK_CUR)) == b"{"
        size = fcntl.ioctl(0, termios.FIONREAD, bytes(4)) if stat.S_ISFIFO(mode) else b""
        return any(size)
    except OSError:
        return False


def open_inputs(files: Iterable[Path]) -> Iterator[tuple[str, BinaryIO]]:
    """Yields (name, binary file) for each input; a terminal as standard input is refused as a usage error."""
    for path in list(files) or [Path("-")]:
        if str(path) == "-":
            if sys.stdin is None or sys.stdin.closed:
                raise InputError("standard input is closed; name a file or pipe records in")
            if sys.stdin.isatty():
                raise NothingToRead("nothing to read: standard input is a terminal; name a file or pipe records in")
            yield "stdin", sys.stdin.buffer
        else:
            try:
                source = path.open("rb")
            except OSError as error:
                near = nearest_file(path) if error.errno == errno.ENOENT else ""
                raise InputError(f"cannot read {path}: {error.strerror}{near}") from None
            with source:
                yield str(path), source
