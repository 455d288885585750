"""Rows of data files: JSONL, JSON, CSV, TSV, Parquet and Arrow, also compressed, from files and standard input.

Lines and tables stream, Parquet by batches of rows within its row groups; a JSON document is held whole. What the
rows' fields mean is not known here.
"""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from r1cli import stream
from r1cli.errors import InputError
from r1cli.prompts import compressed

FORMATS = ("jsonl", "json", "csv", "tsv", "parquet", "arrow")
_SUFFIXES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
    ".pq": "parquet", ".arrow": "arrow",
}  # fmt: skip
_PACKED = (".gz", ".bz2", ".xz", ".zst")
_LONG_INTEGER = re.compile(rb"[0-9]{19}")
# The first line of a table: names with commas or tabs between them. No line of JSON is like that.
_HEADER = re.compile(rb"[\w .\"-]+(?:,[\w .\"-]+)+|[\w .\"-]+(?:\t[\w .\"-]+)+")
_BOM = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """One row: its fields (an InputError where it cannot be read), its place for messages, and its line if JSONL."""

    record: dict[str, Any] | InputError
    where: str
    raw: bytes | None = None


def is_data_name(name: str) -> bool:
    """Whether a name ends like a data file's, so that it is none of a data set on a hub."""
    return _suffix(name) in _SUFFIXES or Path(name).suffix in _PACKED


def read(files: list[Path], chosen: str | None = None) -> Iterator[Row]:
    """Yields the rows of the files in turn (`-` is standard input), in a chosen format or in that of each file.

    A row that cannot be read is yielded as its error; what ends the reading of a file raises InputError.
    """
    for name, source in stream.open_inputs(files):
        try:
            plain, packed = compressed.opened(source, name)
            on_disk = not packed and source.seekable()
            yield from _rows(plain, name, chosen, source if on_disk else None)
        except compressed.error_types() as error:
            raise InputError(f"cannot read {name}: {error or type(error).__name__}; is it damaged?") from None


def _rows(source: BinaryIO, name: str, chosen: str | None, on_disk: BinaryIO | None) -> Iterator[Row]:
    head, source = compressed.look(source, 8)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") and head[:4] != b"\xff\xff\xff\xff":
        raise InputError(f"{name} is UTF-16; convert it: iconv -f utf-16 -t utf-8")
    kind = chosen or _SUFFIXES.get(_suffix(name)) or _guess(head)
    if kind == "json":
        return _json(source.read(), name)
    if kind in ("csv", "tsv"):
        return _table(source, name, "," if kind == "csv" else "\t")
    if kind == "jsonl":
        return _lines(source, name)
    from r1cli.prompts import columnar

    return (columnar.parquet if kind == "parquet" else columnar.arrow)(source, name, on_disk)


def _suffix(name: str) -> str:
    path = Path(name)
    return Path(path.stem).suffix if path.suffix in _PACKED else path.suffix


def _guess(head: bytes) -> str:
    """The format of a stream without a telling name; lines where nothing else is certain."""
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    text = head.removeprefix(_BOM).lstrip()
    # An object that ends with its line is a line's; one that goes on is a document's.
    first, newline, _ = text.partition(b"\n")
    open_object = newline and text.startswith(b"{") and not first.rstrip().endswith(b"}")
    if _HEADER.fullmatch(first.rstrip(b"\r")) and newline:
        return "tsv" if b"\t" in first else "csv"
    return "json" if text.startswith(b"[") or open_object else "jsonl"


def _lines(source: BinaryIO, name: str) -> Iterator[Row]:
    for number, raw in enumerate(source, 1):
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if raw.strip():
            yield _line(raw.rstrip(b"\r\n"), f"{name}:{number}")


def _line(raw: bytes, where: str) -> Row:
    try:
        return Row(_exact(raw, stream.parse(raw, where)), where, raw)
    except InputError as error:
        return Row(error, where)


def _exact(raw: bytes, parsed: Any) -> Any:
    """What was parsed; parsed again where orjson may have made a float of an integer beyond 64 bits."""
    return json.loads(raw) if _LONG_INTEGER.search(raw) else parsed


def _json(data: bytes, name: str) -> Iterator[Row]:
    data = data.removeprefix(_BOM)
    try:
        document = _exact(data, orjson.loads(data))
    except orjson.JSONDecodeError as error:
        if data.lstrip().startswith(b"{") and b"\n" in data.strip():
            # Many a .json holds one object a line.
            first = data.lstrip().partition(b"\n")[0]
            if not isinstance(_line(first, name).record, InputError):
                yield from _lines(io.BytesIO(data), name)
                return
        raise InputError(f"{name}:{error.lineno}: not JSON ({error.msg}, column {error.colno})") from None
    rows = _rows_of(document)
    if rows is None:
        raise InputError(
            f'{name}: expected an array of objects, an object of columns of one length, or an object with "data"'
        )
    for number, row in enumerate(rows, 1):
        where = f"{name}: row {number}"
        good = isinstance(row, dict)
        yield Row(row if good else InputError(f"{where}: expected an object, found {type(row).__name__}"), where)


def _rows_of(document: Any) -> Any:
    """The rows of a JSON document, or None: an array, the array under "data", columns, or an object alone."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict) or not document:
        return None
    if isinstance(document.get("data"), list | dict):
        return _rows_of(document["data"])
    columns = list(document.values())
    if all(isinstance(column, list) for column in columns):
        if len({len(column) for column in columns}) > 1:
            return None
        return (dict(zip(document, cells, strict=True)) for cells in zip(*columns, strict=True))
    if all(isinstance(column, dict) for column in columns):  # as pandas writes a table: {column: {index: cell}}
        if len({tuple(column) for column in columns}) > 1:
            return None
        return ({name: document[name][index] for name in document} for index in columns[0])
    return [document]


def _table(source: BinaryIO, name: str, delimiter: str) -> Iterator[Row]:
    import csv
    import sys

    csv.field_size_limit(sys.maxsize)
    text = io.TextIOWrapper(source, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number = 0
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = cells
                twice = sorted({cell for cell in header if header.count(cell) > 1})
                if twice:
                    raise InputError(f"{name}:1: the header names {twice[0]!r} twice")
                continue
            number += 1
            where = f"{name}: row {number}"
            if len(cells) == len(header):
                yield Row(dict(zip(header, cells, strict=True)), where)
            else:
                problem = f"{where} (line {reader.line_num}): {len(cells)} cells under a header of {len(header)}"
                yield Row(InputError(problem), where)
    except csv.Error as error:
        raise InputError(f"{name}:{reader.line_num}: not a table ({error})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: row {number + 1}: not UTF-8 ({error.reason})") from None
