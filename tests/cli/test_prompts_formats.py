"""Data files of every format, compressed or not, from disk and from a pipe: the same rows give the same records."""

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys

import pyarrow as pa
import pytest
from conftest import ENVIRONMENT, run_r1, shell
from pyarrow import ipc, parquet

from r1cli.prompts import formats

ROWS = [
    {"question": 'line one\nline "two", with a comma', "answer": "1"},
    {"question": "é 中 \U0001f600", "answer": "2"},
    {"question": "tab\there", "answer": "3"},
]


def as_jsonl(rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_csv(rows, delimiter=","):
    import csv

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows, **options):
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), out, **options)
    return out.getvalue()


def as_arrow(rows, opened=ipc.new_stream):
    out, table = io.BytesIO(), pa.Table.from_pylist(rows)
    with opened(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


FILES = {
    "a.jsonl": as_jsonl(ROWS),
    "bom.jsonl": b"\xef\xbb\xbf" + as_jsonl(ROWS).replace(b"\n", b"\r\n"),
    "a.json": json.dumps(ROWS, indent=1).encode(),
    "data.json": json.dumps({"data": ROWS}).encode(),
    "columns.json": json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]}, indent=1).encode(),
    "pandas.json": json.dumps({key: {str(n): row[key] for n, row in enumerate(ROWS)} for key in ROWS[0]}).encode(),
    "lines.json": as_jsonl(ROWS),
    "a.csv": as_csv(ROWS),
    "bom.csv": b"\xef\xbb\xbf" + as_csv(ROWS),
    "a.tsv": as_csv(ROWS, "\t"),
    "a.parquet": as_parquet(ROWS),
    "groups.parquet": as_parquet(ROWS, row_group_size=1, compression="zstd"),
    "a.arrow": as_arrow(ROWS),
    "file.arrow": as_arrow(ROWS, ipc.new_file),
}


def zstd(data):
    return pa.Codec("zstd").compress(data, asbytes=True)


@pytest.mark.parametrize("pack", [None, gzip.compress, bz2.compress, lzma.compress, zstd])
def test_every_format_and_packing(tmp_path, pack):
    """The reader itself, for all formats in all packings; by name for files."""
    for name, data in FILES.items():
        path = tmp_path / (f"{name}.gz" if pack else name)  # the content decides how it is unpacked, not the name
        path.write_bytes(pack(data) if pack else data)
        assert [row.record for row in formats.read([path])] == ROWS, name


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.arrow"])
def test_through_the_program(tmp_path, name):
    """From a file, from a pipe whose content tells the format, and gzipped from a pipe."""
    (tmp_path / name).write_bytes(FILES[name])
    done = run_r1("prompts", name, cwd=tmp_path, check=0)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(record["prompt"], record["answer"]) for record in records] == [tuple(row.values()) for row in ROWS]
    assert done.stderr == b'r1 prompts: taking "question" as the prompt and "answer" as the answer\n'
    assert run_r1("prompts", "-", stdin=FILES[name], check=0).stdout == done.stdout
    assert run_r1("prompts", "-", stdin=gzip.compress(FILES[name]), check=0).stdout == done.stdout


def test_several_files(tmp_path):
    """Shards are read in the order given, formats mixed as they come."""
    (tmp_path / "1.jsonl").write_bytes(as_jsonl(ROWS[:1]))
    (tmp_path / "2.parquet").write_bytes(as_parquet(ROWS[1:]))
    done = run_r1("prompts", "1.jsonl", "2.parquet", "-q", cwd=tmp_path, check=0)
    assert [json.loads(line)["prompt"] for line in done.stdout.splitlines()] == [row["question"] for row in ROWS]


def test_nested_columns_and_odd_types(tmp_path):
    """Lists, structs, nulls, times, decimals, bytes and large integers of a table leave as JSON."""
    import datetime
    import decimal

    row = {
        "prompt": [{"role": "user", "content": "Q"}], "extra": {"a": None, "b": [1.5, 2.0]},
        "at": datetime.date(2024, 9, 1), "d": decimal.Decimal("1.50"), "raw": b"\x00\xff", "n": 2**62,
    }  # fmt: skip
    (tmp_path / "x.parquet").write_bytes(as_parquet([row]))
    done = run_r1(
        "prompts", "x.parquet", "--prompt-field", "prompt.-1.content", "--answer-field", "n", cwd=tmp_path, check=0
    )
    record = json.loads(done.stdout)
    assert (record["prompt"], record["answer"]) == ("Q", str(2**62))
    assert record["extra"] == {"a": None, "b": [1.5, 2.0]}
    assert (record["at"], record["d"], record["raw"]) == ("2024-09-01", "1.50", "AP8=")


def test_prompt_records_of_tables(tmp_path):
    """A table with a prompt column is one of prompt records: all columns stay, an id is added."""
    (tmp_path / "p.csv").write_bytes(b"prompt,level\n1 + 1,easy\n")
    record = json.loads(run_r1("prompts", "p.csv", cwd=tmp_path, check=0).stdout)
    assert list(record) == ["id", "prompt", "level"] and record["level"] == "easy"


def test_large_cells_and_integers(tmp_path):
    """A cell of a megabyte, and integers that no float holds, in lines and in documents."""
    text = "x" * 1_000_000
    (tmp_path / "big.csv").write_text(f'question,answer\n"{text}",1\n')
    (row,) = formats.read([tmp_path / "big.csv"])
    assert row.record["question"] == text
    digits = "9" * 30
    for name, data in (("a.jsonl", '{"question":"Q","answer":%s}'), ("a.json", '[{"question":"Q","answer":%s}]')):
        (tmp_path / name).write_text(data % digits)
        record = json.loads(run_r1("prompts", name, cwd=tmp_path, check=0).stdout)
        assert record["answer"] == digits


def test_parquet_is_read_in_batches(tmp_path):
    """A file of many row groups is never in memory as a whole."""
    rows = [{"question": f"{n} " + "x" * 20_000, "answer": "1"} for n in range(3000)]
    table = pa.Table.from_pylist(rows)
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=100, compression="none", use_dictionary=False)
    script = (
        "import pyarrow\nfrom pathlib import Path\nfrom r1cli.prompts import formats\n"
        "count = sum(1 for _ in formats.read([Path('x.parquet')]))\n"
        "print(count, pyarrow.default_memory_pool().max_memory())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    count, held = map(int, done.stdout.split())
    assert count == 3000 and 1 << 20 < held < 30 << 20, held  # the rows are 60 MB


def test_a_slow_pipe_is_not_waited_for(tmp_path):
    """Lines pass as they come: each record is out while the writer still holds the next one back."""
    done = shell(
        """
        mkfifo in out
        r1 prompts - < in > out 2> err &
        exec 3> in 4< out
        for number in 1 2 3; do
            echo "{\\"prompt\\":\\"$number\\"}" >&3
            read -r -t 60 line <&4 && echo "$line"
        done
        exec 3>&-
        wait
        """,
        cwd=tmp_path,
    )
    assert [json.loads(line)["prompt"] for line in done.stdout.splitlines()] == ["1", "2", "3"], done.stderr


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.json", b'{"a": 1', ["a.json:1: not JSON"]),
        ("a.json", b"3", ["a.json: expected an array of objects"]),
        ("a.json", b'{"a":[1],"b":[1,2]}', ["a.json: expected an array of objects", "one length"]),
        ("a.json", b'[{"question":"Q"}, 5]', ["a.json: row 2: expected an object, found int"]),
        ("a.csv", b"question,question\n1,2\n", ["a.csv:1: the header names 'question' twice"]),
        ("a.csv", b"question,answer\n1,2\n1,2,3\n", ["a.csv: row 2 (line 3): 3 cells under a header of 2"]),
        ("a.csv", b'question,answer\n"1,2\n', ["a.csv:", "not a table"]),
        ("a.csv", b"question,answer\n\xff,2\n", ["a.csv: row 1: not UTF-8"]),
        ("a.csv", "question,answer\n1,2\n".encode("utf-16"), ["a.csv is UTF-16", "iconv"]),
        ("a.parquet", b"PAR1 and nothing else", ["a.parquet: not a readable Parquet file"]),
        ("a.arrow", b"nothing of the kind", ["a.arrow: not a readable Arrow file"]),
        ("a.jsonl.gz", gzip.compress(FILES["a.jsonl"])[:-20], ["cannot read a.jsonl.gz", "damaged"]),
        ("a.jsonl", b'{"r1_x":1}', ["a.jsonl:1:", '"r1_"']),
        ("a.jsonl", b'{"question":"\\ud800","answer":"1"}', ["a.jsonl:1:"]),
    ],
)  # fmt: skip
def test_damaged(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    done = run_r1("prompts", name, cwd=tmp_path)
    said = done.stderr.decode().splitlines()
    assert done.returncode == 2 and "Traceback" not in done.stderr.decode()
    assert len([line for line in said if "taking" not in line]) == 1
    for word in words:
        assert word in said[-1]


def test_bad_rows_can_be_skipped(tmp_path):
    """Of lines, tables and documents alike, counted together."""
    (tmp_path / "a.jsonl").write_bytes(b'no\n{"question":"1","answer":1}\n{"answer":1}\n')
    (tmp_path / "a.csv").write_bytes(b"question,answer\n2,2\n2,2,3\n")
    (tmp_path / "a.json").write_bytes(b'[5,{"question":"3","answer":3}]')
    done = run_r1("prompts", "a.jsonl", "a.csv", "a.json", "--skip-bad", cwd=tmp_path, check=0)
    assert [json.loads(line)["prompt"] for line in done.stdout.splitlines()] == ["1", "2", "3"]
    assert b"r1 prompts: warning: skipped 4 bad rows\n" in done.stderr


def test_pyarrow_is_asked_for_by_name(tmp_path):
    """Without the extra package: what is missing and how to get it, and everything else still works."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pyarrow'] = sys.modules['datasets'] = None\n")
    (tmp_path / "a.parquet").write_bytes(FILES["a.parquet"])
    (tmp_path / "a.jsonl.zst").write_bytes(zstd(FILES["a.jsonl"]))
    bare = {"PYTHONPATH": str(tmp_path)}
    for name, what in (("a.parquet", b"reading Parquet needs pyarrow"), ("a.jsonl.zst", b"zstd needs pyarrow")):
        done = run_r1("prompts", name, cwd=tmp_path, env=bare)
        assert done.returncode == 2 and what in done.stderr and b"pip install 'r1-pipes[data]'" in done.stderr
    done = run_r1("prompts", "owner/name", cwd=tmp_path, env=bare)
    assert done.returncode == 2 and b"needs datasets: pip install 'r1-pipes[data]'" in done.stderr
    run_r1("prompts", "-", "--preset", "gsm8k", stdin=b'{"question":"Q","answer":"#### 1"}', env=bare, check=0)
