"""README.md is true: its blocks are run in one folder, in their order, or read by the real parser where they can't be.

What a block is, the comment in front of it says: `session` (commands after a $, and what they printed), `forms` and
`elsewhere` (not run here, for the reason given), `output` (of the command named), `map` (of the source), and the two
commands that are tested by CI itself. A block without one is a script.
"""

import functools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ENVIRONMENT

from r1cli import usage
from r1cli.app import COMMANDS, fill_optional_values, find

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
MARKS = {"session", "forms", "elsewhere", "output", "map", "main command", "test command", ""}

# One backend for each run that the README makes, from the start; fewer rounds of the loop, a smaller evaluation.
SHIM = """
set -euo pipefail
program() {{ "{python}" -m r1cli "$@"; }}
r1() {{
    case "$*" in
        "serve ckpt --detach" | "serve ckpt --stop") return 0 ;;
        "eval ckpt") set -- "$@" --questions 4 -k 2 ;;
    esac
    program "$@"
    if [ "$1" = init ]; then program serve "$2" --detach -q < /dev/null; fi
}}
seq() {{ command seq 2; }}
"""


class Block(NamedTuple):
    """A block of code: the kind that its comment says, the reason given there, the line it begins at, its text."""

    kind: str
    reason: str
    line: int
    text: str


def blocks():
    """Every indented block of the README."""
    found, lines, kept, mark = [], [*TEXT.splitlines(), "the end"], [], ""
    for number, line in enumerate(lines, 1):
        if line.startswith("    ") or (kept and not line):
            kept.append(line[4:])
            continue
        if kept:
            kind, _, reason = mark.partition(":")
            text = "\n".join(kept).rstrip()
            found.append(Block(kind.strip(), reason.strip(), number - len(kept), text))
            kept = []
        if line:
            mark = line[5:-4] if line.startswith("<!-- ") and line.endswith(" -->") else ""
    return found


BLOCKS = blocks()


def runnable():
    """The script of all blocks that are run; what a session's commands print goes to a file of its own."""
    parts, sessions = [], []
    for block in BLOCKS:
        if block.kind == "":
            parts.append(f"echo README.md:{block.line} >&2\n{block.text}\n")
        elif block.kind == "session":
            for text in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                command, _, output = text.partition("\n")
                parts.append(f"echo README.md:{block.line} >&2\n{{ {command}\n}} > out{len(sessions)} 2>&1\n")
                sessions.append((command, output.strip("\n")))
    return "".join(parts), sessions


def shape(line):
    """What of a line is the same on every machine: a record's keys and kinds, the first words of a text."""
    try:
        return json.dumps(kinds(json.loads(line)))
    except ValueError:
        words = re.match(r"\W*[^\W\d]*( [\w-]+:)?", line)
        return words[0]


def kinds(value):
    if isinstance(value, dict):
        return {key: kinds(each) for key, each in value.items()}
    return [kinds(each) for each in value] if isinstance(value, list) else type(value).__name__.replace("float", "int")


def test_marks_are_known():
    """A comment that is misspelt would switch a check off."""
    assert {block.kind for block in BLOCKS} <= MARKS
    assert all(block.reason for block in BLOCKS if block.kind in ("forms", "elsewhere", "output"))
    kinds_found = [block.kind for block in BLOCKS]
    assert kinds_found.count("") >= 8 and kinds_found.count("session") >= 5 and kinds_found.count("map") == 1


def test_blocks_run(tmp_path):
    """All scripts and sessions, as a reader would type them; what the sessions print has the shape that is shown."""
    script, sessions = runnable()
    ends = 'for run in ckpt mine; do program serve "$run" --stop -q || true; done\n'
    done = subprocess.run(
        ["bash", "-c", f"{SHIM.format(python=sys.executable)}trap '{ends.strip()}' EXIT\n{script}"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(ROOT), ENVIRONMENT.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=600,
    )
    said = done.stderr[-2000:] + "".join((tmp_path / f"out{n}").read_text()[-500:] for n in range(len(sessions))
                                         if (tmp_path / f"out{n}").exists())  # fmt: skip
    assert done.returncode == 0, said
    for number, (command, output) in enumerate(sessions):
        printed = (tmp_path / f"out{number}").read_text().strip("\n").splitlines()
        # Stages of a pipe speak in any order; blank lines are only layout.
        assert sorted(map(shape, filter(None, printed))) == sorted(map(shape, filter(None, output.splitlines()))), (
            command
        )
    assert len(list((tmp_path / "model").iterdir())) >= 3
    assert not list(tmp_path.glob("*/serve.json"))


def commands_of(text):
    """The words of each r1 command in a block of shell, without redirections."""
    text = re.sub(r"\\\n", " ", text)
    for line in text.splitlines():
        words, command = shlex.shlex(line, posix=True, punctuation_chars="|&;<>"), None
        words.whitespace_split = True
        for word in [*words, ";"]:
            if command is not None and re.fullmatch(r"[|&;<>]+", word):
                yield command
                command = None
            elif command is not None:
                command.append(word)
            elif word == "r1":
                command = []


def read(name, words):
    """Lets the program's own parser read a line; raises what it raises. The command itself is not run."""
    taken = []
    command = functools.wraps(find(name))(lambda **values: taken.append(values))
    usage.build({name: command})(words, prog_name="r1", standalone_mode=False)
    assert taken, words


def test_the_reader_of_lines_refuses_what_is_wrong():
    """The next test would pass if nothing were read."""
    with pytest.raises(usage.USAGE_ERROR):
        read("sample", ["sample", "ckpt", "--temprature", "1"])


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.kind in ("forms", "elsewhere")])
def test_commands_that_are_not_run_are_commands(block):
    """The parser of the program takes them: the names of commands and options, and the kinds of their values.

    What has no command of ours names the test that runs it.
    """
    found = list(commands_of(block.text))
    if block.reason.startswith("tests/"):
        assert (ROOT / block.reason).exists()
    else:
        assert found or "pip install" in block.text, block
    for words in found:
        assert words[0] in COMMANDS, words
        read(words[0], fill_optional_values(words))


def test_the_map_and_the_programs_are_there():
    """Every path of the map, every program that prints a figure and every file that is linked to exists."""
    (block,) = (each for each in BLOCKS if each.kind == "map")
    above = ROOT
    for line in block.text.splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split()
        assert names, line
        for name in names:
            folder = above if line.startswith(" ") else ROOT
            assert list(folder.glob(name.rstrip("/"))), f"{line}: no {name}"
        if not line.startswith(" ") and names[0].endswith("/"):
            above = ROOT / names[0]
    for name in re.findall(r"(?:python |pytest [^`]*?)((?:tests|examples)/[\w/.]+)", TEXT):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"python -m (r1cli[\w.]+)", TEXT):
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / name).exists(), name
