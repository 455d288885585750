"""CONTRIBUTING.md does what it says: each recipe is followed in a copy of the package, and what it adds is run."""

import json
import re
import shutil
import textwrap
from pathlib import Path

import pytest
from conftest import run_r1

ROOT = Path(__file__).parents[2]
RECIPE = re.compile(r'<!-- (file|line): (\S+)(?: before: "(.*)")? -->\n\n((?:(?:    .*)?\n)+)')


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A copy of the package with every recipe followed; runs r1 in it."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "r1cli", folder / "r1cli", ignore=shutil.ignore_patterns("__pycache__"))
    recipes = RECIPE.findall((ROOT / "CONTRIBUTING.md").read_text())
    assert [kind for kind, *_ in recipes] == ["file", "line"] * 3
    for kind, name, before, block in recipes:
        path = folder / name
        if kind == "file":
            assert not path.exists()
            path.write_text(textwrap.dedent(block).strip() + "\n")
            continue
        added, text, place = block.strip("\n"), path.read_text(), before.replace('\\"', '"')
        assert "\n" not in added and text.count(place) == 1, name
        path.write_text(text.replace(place, f"{added}\n{place}"))
    return lambda *arguments, **more: run_r1(*arguments, cwd=folder, env={"PYTHONPATH": str(folder)}, **more)


LINES = b'{"completion":"LOUD"}\n{"completion":"see http://x"}\n'


def test_reward(changed):
    """It judges, is weighted, is named in the help, and is refused when it is misspelt."""
    done = changed("reward", "--shout", "--weight", "shout=0.5", stdin=LINES, check=0)
    judged = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["reward"] for record in judged] == [0.5, 0.0]
    assert [record["reward_info"]["shout"]["reason"] for record in judged] == ["ok", "quiet"]
    assert b"--shout" in changed("reward", "--help", check=0).stdout
    assert b"did you mean --shout" in changed("reward", "--shoot", stdin=LINES, check=2).stderr


def test_filter(changed):
    """It drops, is counted, and takes its turn among the others."""
    done = changed("filter", "--no-url", stdin=LINES, check=0)
    assert done.stdout == b'{"completion":"LOUD"}\n'
    assert b"1 url" in done.stderr
    done = changed("filter", "--no-url", "--max-chars", "3", "--dedupe", "exact", stdin=LINES, check=0)
    assert b"2 too long" in done.stderr


def test_command(changed):
    """It runs, has help, and stands among the commands."""
    done = changed("count", stdin=LINES, check=0)
    assert json.loads(done.stdout) == {"records": 2}
    assert b"Count the records of a stream." in changed("--help", check=0).stdout
    assert b"r1 prompts sum" in changed("count", "--help", check=0).stdout


def test_without_the_recipes_there_is_none():
    """What the other tests see comes from the copy."""
    for arguments in (["reward", "--shout"], ["filter", "--no-url"], ["count"]):
        assert run_r1(*arguments, stdin=LINES).returncode == 2
