"""r1 doctor: what it finds on this machine, and what it would say on others."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from conftest import run_r1
from test_terminal import on_terminal

from r1cli.app import explain
from r1cli.commands.doctor import lines
from r1cli.doctor import examine, machine, packages
from r1cli.doctor.finding import Answer, Finding, ask
from r1cli.doctor.packages import PACKAGES, Package, judge, matches

NOT_FOR_USERS = {"test"}
KEYS = ["check", "status", "needed", "found", "purpose", "fix"]
# Hides a package that r1 needs from a program: its version, and its import.
WITHOUT_TOKENIZERS = """
import importlib.metadata, sys
sys.modules["tokenizers"] = None
version = importlib.metadata.version
def hidden(name):
    if name == "tokenizers":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = hidden
"""


def name_of(requirement):
    return re.match(r"[\w-]+", requirement)[0]


def test_quick_is_a_record_a_check():
    """Whole records, nothing imported or started, and exit 0 where the tests run."""
    done = run_r1("doctor", "--quick", check=0)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(list(record) == KEYS for record in found)
    names = [record["check"] for record in found]
    assert names[:2] == ["python", "system"] and len(set(names)) == len(names)
    assert {package.name for package in PACKAGES} <= set(names) and "tiny model" not in names
    assert all(record["fix"] for record in found if record["status"] != "ok" and record["check"] != "gpu")
    assert done.stderr.startswith(b"r1 doctor: what r1 needs works here")


def test_a_package_that_is_missing_is_named(tmp_path):
    """Exit 1 and the line that installs it; a command that meets it points here, and is not called a bug."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TOKENIZERS)
    paths = {"PYTHONPATH": f"{tmp_path}:{packages.__file__.rpartition('/r1cli/')[0]}"}
    done = run_r1("doctor", "--quick", env=paths)
    assert done.returncode == 1
    assert done.stderr == b"r1 doctor: does not work here: tokenizers\n"
    (record,) = (record for record in map(json.loads, done.stdout.splitlines()) if record["check"] == "tokenizers")
    assert record["status"] == "absent" and record["needed"] and record["fix"] == "pip install r1-pipes"
    code, line = explain(ModuleNotFoundError("No module named 'tokenizers'", name="tokenizers"))
    assert (code, line) == (1, "the package tokenizers is not installed; r1 doctor says what is missing here")


def test_trials_really_run(monkeypatch):
    """The tiny base samples, an answer goes through the graders' processes, a socket opens, a sandbox is tried."""
    monkeypatch.setattr(packages, "PACKAGES", (Package("jinja2", "jinja2", "templates"),))
    found = {finding.check: finding for finding in examine()}
    for name in ("jinja2", "tiny model", "grading", "socket"):
        assert found[name].status == "ok", found[name]
    assert "tokens" in found["tiny model"].found
    assert {"bubblewrap", "landlock"} <= set(found)


def test_terminal_gets_a_table():
    """People get lines of at most 80 columns, in colour; the record is for programs."""
    code, seen, _ = on_terminal(["doctor", "--quick", "-q"], streams={"stdout"})
    assert code == 0 and "{" not in seen and "\x1b[32mok" in seen
    rows = lines(Finding("vllm", "absent", False, "not " * 30, "sampling " * 9, "pip install " * 20), paint=False)
    assert len(rows) > 4 and max(map(len, rows)) <= 80
    assert rows[0].startswith("absent  vllm") and any("-> pip install" in row for row in rows)


@pytest.mark.parametrize(
    ("found", "wanted", "good"),
    [
        ("2.13.0+cpu", ">=2.11,<2.14", True),
        ("2.14.0", "<2.14,>=2.11", False),
        ("2.9.1", ">=2.11", False),
        ("0.9.3", "==0.9.*", True),
        ("0.10.0", "==0.9.*", False),
        ("0.29.0rc1", ">=0.26", True),
        ("77", ">=5", True),
        ("1", "", True),
    ],
)
def test_ranges(found, wanted, good):
    """Versions are compared by number: 2.9 is older than 2.11."""
    assert matches(found, wanted) is good


def test_every_requirement_is_looked_at(monkeypatch):
    """What pyproject.toml asks for is what is checked, under the extra that brings it; ranges come from there alone."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"].items()
    lines = project["dependencies"] + [f'{line}; extra == "{name}"' for name, group in optional for line in group]
    monkeypatch.setattr(packages.metadata, "requires", lambda name: lines)
    wanted = packages.requirements()
    assert wanted["torch"].startswith(">=") and wanted["math-verify"].startswith("==")
    read = re.compile(r"((>=|<|==)[\d.*]+,?)*")  # what `matches` understands
    assert all(read.fullmatch(wanted[package.name]) for package in PACKAGES)
    asked = {(name, "") for name in map(name_of, project["dependencies"])}
    asked |= {(name_of(line), extra) for extra, group in optional if extra not in NOT_FOR_USERS for line in group}
    assert {(package.name, package.extra) for package in PACKAGES} == asked


def test_judgements_of_packages():
    """Too old, broken at import, and absent are told apart, each with what to do."""
    needed, extra = Package("torch", "torch", "models"), Package("peft", "peft", "r1 init --lora", "lora")
    assert judge(needed, "2.13.0", ">=2.11", Answer(0, "", "")).status == "ok"
    old = judge(needed, "2.9.0", ">=2.11", None)
    assert (old.status, old.fatal, old.found) == ("broken", True, "2.9.0, not >=2.11")
    broken = judge(extra, "0.21", "", Answer(1, "", "ImportError: cannot import name x"))
    assert (broken.status, broken.fatal) == ("broken", False) and "cannot import name x" in broken.found
    absent = judge(extra, "", ">=0.21", None)
    assert (absent.status, absent.fix) == ("absent", "pip install 'r1-pipes[lora]'")


def test_a_program_that_hangs_or_is_not_there():
    """The doctor's own questions end."""
    assert ask(["/nowhere/nothing"]).code is None
    hung = ask(["sleep", "60"], seconds=0.1)
    assert hung.code is None and "no answer" in hung.complaint
    assert ask(["sh", "-c", "echo first >&2; echo last >&2; exit 3"]) == Answer(3, "", "last")


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ({"cuda": "12.8", "cards": [["H100", 80 << 30, 79 << 30, True]] * 2, "said": []}, "ok", "2 x H100, 79.0 GiB"),
        ({"cuda": None, "cards": [], "said": []}, "broken", "built for the CPU"),
        ({"cuda": "12.8", "cards": [], "said": ["driver too old"]}, "broken", "driver too old"),
        ({"cuda": "12.8", "cards": [["H100", 80 << 30, 1, False]], "said": []}, "broken", "wrong products"),
        (None, "broken", "died"),
    ],
)
def test_gpus(monkeypatch, answer, status, words):
    """Cards that the system shows and torch can't use are told apart from cards that are not there."""
    said = Answer(0, f"noise\n{json.dumps(answer)}\n", "") if answer else Answer(1, "", "died")
    monkeypatch.setattr(machine, "python", lambda code: said)
    monkeypatch.setattr(machine, "cards_here", lambda: 2)
    found = machine.gpu(quick=False)
    assert found.status == status and words in found.found
    monkeypatch.setattr(machine, "cards_here", lambda: 0)
    assert machine.gpu(quick=False).status == "absent"
