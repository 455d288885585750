"""Lines that wait until all samples of their prompt are there, and leave in the order in which they came.

Of a waiting record only its line is kept (in memory, beyond a limit in a temporary file) and a row of numbers.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections import deque
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from r1cli.errors import R1Error
from r1cli.filters.samples import GroupRule

IN_MEMORY = 64 << 20


class Spool:
    """Lines, first in first out: in memory up to a limit in bytes, in a temporary file from there until it is empty."""

    def __init__(self, limit: int, note: Callable[[str], None]):
        self.limit, self.note = limit, note
        self.lines: deque[bytes] = deque()
        self.bytes = self.filed = 0
        self.writer: BinaryIO | None = None
        self.reader: BinaryIO | None = None

    def push(self, line: bytes) -> None:
        """Adds a line (without a newline in it)."""
        if not self.filed and self.bytes + len(line) <= self.limit:
            self.lines.append(line)
            self.bytes += len(line)
            return
        try:
            writer, _ = self._file()
            writer.write(line)
            writer.write(b"\n")
        except OSError as error:
            folder = tempfile.gettempdir()
            raise R1Error(f"cannot hold the input in {folder}: {error.strerror}; set TMPDIR to a larger disk") from None
        self.filed += 1

    def pop(self) -> bytes:
        """The oldest line, which is gone then."""
        if self.lines:
            line = self.lines.popleft()
            self.bytes -= len(line)
            return line
        writer, reader = self._file()
        writer.flush()
        line = reader.readline()[:-1]
        self.filed -= 1
        if not self.filed:
            reader.seek(0)
            writer.seek(0)
            writer.truncate()
        return line

    def _file(self) -> tuple[BinaryIO, BinaryIO]:
        """The temporary file to write to and to read from, made when it is first needed."""
        if self.writer is not None and self.reader is not None:
            return self.writer, self.reader
        descriptor, name = tempfile.mkstemp(prefix="r1-filter-")
        try:
            self.writer, self.reader = os.fdopen(descriptor, "wb"), open(name, "rb")  # noqa: SIM115 - until the end
        finally:
            with suppress(OSError):
                os.unlink(name)
        self.note(f"more than {self.limit >> 20} MiB wait for their prompt's other samples: in a temporary file now")
        return self.writer, self.reader


class Held:
    """Records that wait, as columns of numbers: about 50 bytes each besides the line, and 8 for each rule."""

    def __init__(self, rules: list[GroupRule], note: Callable[[str], None], limit: int = IN_MEMORY):
        self.rules = rules
        self.spool = Spool(limit, note)
        self.start = self.released = 0  # the number of the first row that is in the columns, and of the first to leave
        self.before = array("q")  # the row before of the same prompt, -1 for none
        self.nth = array("I")
        self.reason = array("I")  # a number in `reasons`
        self.ready = bytearray()
        self.values = [array("d") for _ in rules]
        self.reasons: list[str | None] = [None]
        self.numbers: dict[str | None, int] = {None: 0}
        self.open: dict[str, int] = {}  # the last row of each prompt that waits

    def add(self, key: str, size: int | None, raw: bytes, reason: str | None, values: Sequence[float]) -> bool:
        """Takes a record with its prompt's key and number of samples (None: unknown); True when that closed it."""
        row = self.start + len(self.before)
        last = self.open.get(key, -1)
        self.before.append(last)
        self.nth.append(1 if last < 0 else self.nth[last - self.start] + 1)
        self.reason.append(self._number(reason))
        self.ready.append(False)
        for column, value in zip(self.values, values, strict=True):
            column.append(value)
        self.spool.push(raw)
        self.open[key] = row
        if size is not None and self.nth[-1] >= size:
            self._close(key)
            return True
        return False

    def close_all(self) -> int:
        """Judges the prompts that still wait by what came of them; how many they were."""
        count = len(self.open)
        for key in list(self.open):
            self._close(key)
        return count

    def leaving(self) -> Iterator[tuple[bytes, str | None]]:
        """Yields lines with their reason, in input order, up to the first that has to wait."""
        while (place := self.released - self.start) < len(self.ready) and self.ready[place]:
            reason = self.reasons[self.reason[place]]
            self.released += 1
            yield self.spool.pop(), reason
        self._forget()

    def _close(self, key: str) -> None:
        rows, row = [], self.open.pop(key)
        while row >= 0:
            rows.append(row - self.start)
            row = self.before[rows[-1]]
        rows.reverse()
        for rule, column in zip(self.rules, self.values, strict=True):
            left = [not self.reason[row] for row in rows]
            for row, still, reason in zip(rows, left, rule.judge([column[row] for row in rows], left), strict=True):
                if still and reason:
                    self.reason[row] = self._number(reason)
        for row in rows:
            self.ready[row] = True

    def _number(self, reason: str | None) -> int:
        number = self.numbers.setdefault(reason, len(self.reasons))
        if number == len(self.reasons):
            self.reasons.append(reason)
        return number

    def _forget(self) -> None:
        """Removes the rows that have left, now and then; no row that waits has one that left before it."""
        gone = self.released - self.start
        if gone == len(self.ready) or gone > max(4096, len(self.ready) // 2):
            columns: tuple[MutableSequence[Any], ...] = (self.before, self.nth, self.reason, self.ready, *self.values)
            for column in columns:
                del column[:gone]
            self.start += gone
