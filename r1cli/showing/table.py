"""Records as a table, one a line: the fields that were asked for, numbers to the right and text to the left."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from r1cli.errors import nearest
from r1cli.showing.layout import width
from r1cli.showing.pages import text
from r1cli.ui import ascii_only

# Rows that tell how wide the columns are and what they hold; the rest are written as they come.
MEASURED = 200
MISSING = object()  # null is a value


def table(
    fields: Sequence[str], records: Iterable[dict[str, Any]], longest: int | None = None, *, utf8: bool = True
) -> Iterator[str]:
    """Rows under a header; dotted names reach into objects, and text is cut after `longest` letters, if given.

    Nothing is held but the rows that are measured: a wider cell further down moves what stands to its right.
    """
    records = iter(records)
    first = [[find(record, name) for name in fields] for record in islice(records, MEASURED)]
    columns = list(zip(*first, strict=True)) or [()] * len(fields)
    numeric = [any(map(_is_number, column)) and not any(isinstance(v, str) for v in column) for column in columns]
    head = [_cell(name, None, utf8) for name in fields]
    cells = [[_cell(value, longest, utf8) for value in row] for row in first]
    widths = [max(map(width, column)) for column in zip(head, *cells, strict=True)]
    rest = ([_cell(find(record, name), longest, utf8) for name in fields] for record in records)
    for row in chain([head], cells, rest):
        padded = (_padded(*cell) for cell in zip(row, widths, numeric, strict=True))
        yield "  ".join(padded).rstrip()


class Absent:
    """Which of the fields no record had that went by; of the first records the keys, for who misspelt one."""

    def __init__(self, fields: Sequence[str]):
        self.fields = list(dict.fromkeys(fields))
        self.keys: dict[str, None] = {}
        self.count = 0

    def watch(self, records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The same records."""
        for record in records:
            self.count += 1
            self.fields = [name for name in self.fields if find(record, name, MISSING) is MISSING]
            if self.fields and self.count <= MEASURED:
                self.keys |= dict.fromkeys(_keys(record))
            yield record

    def lines(self) -> Iterator[str]:
        """A line for each such field, unless there were no records at all."""
        for name in self.fields if self.count else ():
            near = nearest(name, self.keys) or f"; there are {', '.join([*self.keys][:8]) or 'none'}"
            yield f"of {self.count} records none has a field {name}{near}"


def find(record: dict[str, Any], name: str, missing: Any = None) -> Any:
    """A value by its name, or by a dotted path; `missing` where there is none."""
    value: Any = record
    for part in (name,) if name in record else name.split("."):
        value = value.get(part, missing) if isinstance(value, dict) else missing
    return value


def _keys(record: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in record.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any, longest: int | None, utf8: bool) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    # A record is one line, whatever its values hold.
    line = text(value).replace("\n", "\\n").replace("\t", "\\t")
    line = f"{line[: longest - 1]}…" if longest and len(line) > longest else line
    return line if utf8 else ascii_only(line)


def _padded(cell: str, columns: int, right: bool) -> str:
    blank = " " * (columns - width(cell))
    return blank + cell if right else cell + blank
