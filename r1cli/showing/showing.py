"""r1 show at work: records read one by one, made into pages or rows, and written as they come."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from r1cli import stream, ui
from r1cli.errors import InputError
from r1cli.showing import ansi, groups, page_html, pages
from r1cli.showing.layout import Page, Span, paragraph
from r1cli.showing.pager import paged
from r1cli.showing.pages import Record
from r1cli.ui import Screen

WIDEST = 160  # columns: longer lines are hard to read
CELL = 60  # letters of a table's cell on a terminal

LEGEND = paragraph(
    "tokens to which the sampler gave less than ", Span(".5", "p50"), ", ", Span(".1", "p10"), ", ", Span(".01", "p01")
)

Painter = Callable[[Record], tuple[Span, ...]]


def painter(tokenizer: str | None) -> Painter:
    """Completions with their unlikely tokens marked, by the tokenizer of a checkpoint or of their policy."""
    from r1cli.showing.tokens import Painter as TokenPainter

    return TokenPainter(tokenizer).spans


def show_pages(
    files: Sequence[Path],
    limit: int | None,
    screen: Screen,
    html: Path | None,
    spans: Painter | None,
    *,
    skip_bad: bool,
    grouped: bool,
) -> None:
    """A page for each record, or for each group; `spans` makes the text of a completion (None: as it is)."""
    records = (line.record for line in stream.read(files, skip_bad=skip_bad))
    found = (
        (groups.page(group, spans) for group in groups.groups(records))
        if grouped
        else (pages.page(record, spans) for record in records)
    )
    with _medium(screen, html, ", ".join(map(str, files)) or "standard input") as write:
        if spans:
            write([LEGEND])
        for page in islice(found, limit):
            write(page)


def show_differences(
    files: Sequence[Path], limit: int | None, screen: Screen, html: Path | None, *, skip_bad: bool
) -> None:
    """A page for each pair of records that differ, and a closing count."""
    from r1cli.showing import differences

    if files[0] == files[1]:
        raise InputError(f"--diff: {files[0]} is compared with itself; name two files")
    tally = differences.Tally()
    a, b = ((line.record for line in stream.read([file], skip_bad=skip_bad)) for file in files)
    names = (pages.text(str(files[0])), pages.text(str(files[1])))
    with _medium(screen, html, f"{names[0]} and {names[1]}") as write:
        for count, page in enumerate(differences.compared(differences.pairs(a, b), tally, names)):
            # All are counted, whatever is shown.
            if limit is None or count < limit:
                write(page)
        write([paragraph(Span(f"{names[0]} → {names[1]}: ", "bold"), tally.line())])


def show_table(
    files: Sequence[Path], fields: Sequence[str], limit: int | None, screen: Screen, *, skip_bad: bool
) -> None:
    """A row for each record; a field that none of them has is named at the end."""
    from r1cli.showing.table import Absent, table

    absent = Absent(fields)
    records = (line.record for line in islice(stream.read(files, skip_bad=skip_bad), limit))
    with paged(screen) as out:
        for row in table(fields, absent.watch(records), CELL if screen.terminal else None, utf8=screen.utf8):
            out.write(screen.encode(row + "\n"))
    for line in absent.lines():
        ui.warn(line)


@contextmanager
def _medium(screen: Screen, html: Path | None, title: str) -> Iterator[Callable[[Page], None]]:
    """Writes pages to the terminal or into a file."""
    if html is None:
        look = ansi.Look(screen.colour, min(screen.columns, WIDEST) if screen.terminal else None, screen.utf8)
        with paged(screen) as out:
            yield lambda page: out.write(screen.encode(ansi.render(page, look)))
        return
    with stream.Writer(html) as out:
        out.write(page_html.head(title).encode())
        yield lambda page: out.write(page_html.render(page).encode("utf-8", "backslashreplace"))
        out.write(page_html.TAIL.encode())
