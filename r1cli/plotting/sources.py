"""What r1 plot reads: the metrics and the results of evaluations in a run, a file or a stream.

A record is known by its keys: a result has "pass@1", metrics have a "step", a judged sample has "rewards". What is
drawn of them is not decided here.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from r1cli import stream
from r1cli.errors import InputError
from r1cli.stream import Line

Record = dict[str, Any]


class Source(NamedTuple):
    """One RUN or FILE: its name, metrics by step, and results of evaluations, each with the file it is from."""

    name: str
    metrics: list[Record]
    results: list[tuple[Record, str]]


def files_of(path: Path) -> list[Path]:
    """The files of a RUN, or the FILE itself; those of a run that do not exist yet are left out."""
    if not path.is_dir():
        return [path]
    metrics = path / "metrics.jsonl"
    return [*([metrics] if metrics.exists() else []), *sorted(path.glob("eval*.json"))]


def read(path: Path) -> Source:
    """All that a RUN or FILE holds; raises InputError for one without updates and for a record of another kind."""
    files = files_of(path)
    if not files:
        raise InputError(f"{path} has no updates yet (no metrics.jsonl)")
    # Of a run, that may be writing at this moment, and of nothing else the last line may be torn.
    lines = (line for file in files for line in (_whole(file) if path.is_dir() else stream.read([file])))
    return collect(str(path), lines)


def read_growing(path: Path) -> Source:
    """What there is so far: a file that is missing counts as empty, a line without an end as not written yet."""
    return collect(str(path), (line for file in files_of(path) for line in _whole(file)))


def _whole(file: Path) -> Iterable[Line]:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from None
    complete = content[: content.rfind(b"\n") + 1] if file.suffix == ".jsonl" else content
    for number, raw in enumerate(complete.splitlines(), 1):
        if raw.strip():
            where = f"{file}:{number}"
            yield Line(raw, stream.parse(raw, where), where)


def collect(name: str, lines: Iterable[Line]) -> Source:
    """Sorts records by their kind; judged samples become the result of their evaluation."""
    source, judged = Source(name, [], []), []
    for _, record, where in lines:
        if "pass@1" in record:
            source.results.append((record, Path(where.rpartition(":")[0]).stem))
        elif isinstance(record.get("rewards"), dict) and "completion" in record:
            judged.append((record, where))
        elif isinstance(record.get("step"), int):
            source.metrics.append(record)
        else:
            found = ", ".join(list(record)[:6]) or "nothing"
            raise InputError(
                f'{where}: expected metrics ("step"), a result ("pass@1") or a judged sample ("rewards"), found {found}'
            )
    if judged:
        source.results.extend((result, Path(name).stem) for result in _evaluated(judged))
    return source


def _evaluated(judged: list[tuple[Record, str]]) -> Iterable[Record]:
    """A result for each task of judged samples, with pass@k for the powers of two."""
    from r1cli import evaluation

    for task, gathered in evaluation.collect(judged).items():
        most = evaluation.fewest_verdicts(gathered.items)
        ks = [2**i for i in range(most.bit_length()) if 2**i <= most]
        yield {"task": task} | evaluation.summarize(gathered.items, ks=(*ks, most)) | gathered.setting.summary()
