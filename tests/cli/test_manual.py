"""Man pages and completion files: up to date, whole, read without a word, and installed where they are looked for."""

import fnmatch
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, run_r1

from r1cli import helping, records
from r1cli.app import COMMANDS
from r1cli.manual import generate, sources
from r1cli.manual.sources import Literal, Paragraph, Term

ROOT = Path(__file__).parents[2]
FILES = generate.files()
PAGES = [name for name in FILES if name.startswith("man/")]
DESCRIBED = {command.name: command for command in generate.described()}
REPAIR = "out of date; run: python -m r1cli.manual"


@pytest.mark.parametrize("name", FILES)
def test_generated_files_are_up_to_date(name):
    """Byte for byte what the signatures, docstrings and sources make."""
    assert (ROOT / name).read_bytes() == FILES[name].encode(), REPAIR


def test_nothing_is_left_over(tmp_path):
    """Whatever lies in man/ and completions/ is generated; the generator writes, checks and clears away."""
    there = {str(path.relative_to(ROOT)) for folder in ("man", "completions") for path in (ROOT / folder).iterdir()}
    assert there == set(FILES), REPAIR
    assert {f"man/r1-{name}.1" for name in COMMANDS} < there

    def run(*options):
        command = [sys.executable, "-m", "r1cli.manual", *options, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
        return done.returncode, done.stderr.splitlines()

    assert run() == (0, list(FILES))
    (tmp_path / "man" / "r1.1").write_text("old")
    (tmp_path / "man" / "r1-gone.1").write_text("")
    assert run("--check") == (1, ["man/r1.1", "man/r1-gone.1", REPAIR])
    assert run() == (0, ["man/r1.1", "man/r1-gone.1"])
    assert run("--check") == (0, [])


def test_pages_are_read_without_a_word():
    """mandoc and groff find nothing to say about the markup."""
    lint = subprocess.run(["mandoc", "-T", "lint", *PAGES], cwd=ROOT, capture_output=True, text=True)
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")
    for page in PAGES:
        read = subprocess.run(["groff", "-man", "-ww", "-z", "-T", "utf8", page], cwd=ROOT, capture_output=True)
        assert (read.returncode, read.stderr) == (0, b""), page


@pytest.mark.parametrize("name", COMMANDS)
def test_page_as_it_is_read(name):
    """What a person sees: every section in its order, every option with its help, 80 columns, and no date."""
    shown = subprocess.run(
        ["groff", "-man", "-T", "ascii", "-P-cbou", f"man/r1-{name}.1"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    command = DESCRIBED[name]
    headings = [line for line in shown.splitlines() if line.isupper() and not line.startswith(" ")]
    wanted = ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "ARGUMENTS", "OPTIONS", "EXIT STATUS", "ENVIRONMENT"]
    assert [head for head in headings if head in wanted] == [
        head for head in wanted if command.arguments or head != "ARGUMENTS"
    ]
    assert headings[-1] == "SEE ALSO"
    assert max(map(len, shown.splitlines())) <= 80
    assert not re.search(r"\b20\d\d\b|\b(?:January|November|December)\b", shown)
    joined = " ".join(shown.split())
    for parameter in command.parameters:
        assert " ".join(parameter.help.split()).replace("`", "") in joined, parameter.name
        for word in (*parameter.flags, *parameter.negative, *parameter.choices):
            assert word in joined
    for heading in command.groups():
        assert f"\n   {heading}\n" in shown


def test_sources_say_what_only_people_know():
    """No source for a page that is none, no section that the generator would pass over, and plain ASCII."""
    names = {path.stem for path in sources.FOLDER.glob("*.txt")}
    assert names <= {Path(page).stem for page in PAGES}
    for name in names:
        sections = sources.load(name)
        assert not {"NAME", "SYNOPSIS", "OPTIONS", "ARGUMENTS", "COMMANDS"} & set(sections), name
        for block in (block for blocks in sections.values() for block in blocks if isinstance(block, Literal)):
            assert max(map(len, block.lines)) <= 69, name  # what a page has room for
    for name in ("r1-reward", "r1-filter"):
        text = (sources.FOLDER / f"{name}.txt").read_text()
        assert "Landlock" in text and "write no" in text and "null" in text and "late" in text


def test_sources_are_read():
    """Paragraphs, terms and literal lines are told apart by their indentation."""
    read = sources.read("ONE\n\nA b\nc.\n\nterm\n  means\n  this.\n\n    $ x\n\nTWO WORDS\n\nD.\n")
    assert read == {
        "ONE": [Paragraph("A b c."), Term("term", "means this."), Literal(("$ x",))],
        "TWO WORDS": [Paragraph("D.")],
    }
    with pytest.raises(ValueError, match="before the first heading"):
        sources.read("text\n")


def test_records_of_the_stream_page_are_records():
    """The reference of the format holds itself to it: its examples pass the checks of the program."""
    found = {}
    for heading, blocks in sources.load("r1-stream").items():
        shown = [block for block in blocks if isinstance(block, Literal)]
        if shown and heading != "EXAMPLES":
            found[heading] = json.loads("\n".join(shown[0].lines))
    assert records.as_prompt(found["PROMPTS"], "") == found["PROMPTS"]
    records.check_rollout(found["ROLLOUTS"], "")
    records.check_reward(found["REWARDED ROLLOUTS"], "")
    described = (sources.FOLDER / "r1-stream.txt").read_text()
    assert all(f"`{key}`" in described for key in records.RESERVED)


def test_stream_page_in_the_terminal():
    """r1 help stream: the same text where no man is, within 80 columns."""
    shown = run_r1("help", "stream", env={"COLUMNS": "80"}, check=0).stdout.decode()
    assert max(map(len, shown.splitlines())) <= helping.WIDTH
    for heading in sources.load("r1-stream"):
        assert f"\n{heading}\n" in shown
    assert '"completion_ids": [5, 29, 1]' in shown


def test_the_wheel_installs_them():
    """Each generated file is in one of the wheel's shared folders, where man and the shells look."""
    shared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    place = {name: folder for name in FILES for folder, globs in shared.items() if fnmatch.filter([name], globs[0])}
    assert place == {
        name: "share/man/man1" if name.endswith(".1") else "share/man/man5" if name.endswith(".5") else {
            "completions/r1.bash": "share/bash-completion/completions",
            "completions/_r1": "share/zsh/site-functions",
            "completions/r1.fish": "share/fish/vendor_completions.d",
        }[name]
        for name in FILES
    }  # fmt: skip
