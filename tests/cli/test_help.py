"""Help pages: what stands in them, in which order, and that they fit the terminal."""

import shlex

import pytest
from conftest import run_r1

from r1cli import helping
from r1cli.app import COMMANDS, find
from r1cli.options import COMMON_HEADINGS
from r1cli.signatures import OPTIONS, describe

DESCRIBED = {name: describe(name, find(name)) for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("columns", [80, 60])
def test_page_fits_and_is_whole(name, columns):
    """No line is wider than the terminal, and folding loses no word of any option."""
    command = DESCRIBED[name]
    page = helping.command_page(command, columns)
    before, examples = page[: page.index("Examples:")], page[page.index("Examples:") :].partition("\n\n")
    assert max(map(len, (before + examples[2]).splitlines())) <= columns
    assert max(map(len, examples[0].splitlines())) <= 80  # a quoted word can't be folded
    joined = " ".join(page.split())
    for parameter in command.parameters:
        assert " ".join(parameter.help.split()) in joined, parameter.name
        assert parameter.notes in joined
        for word in (*parameter.flags, *parameter.negative, *parameter.choices):
            assert word in joined
    for paragraph in command.paragraphs:
        assert paragraph in joined


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_come_first_and_options_in_groups(name):
    page = helping.command_page(DESCRIBED[name], 80)
    headings = [line for line in page.splitlines() if line.endswith(":") and not line.startswith(" ")]
    groups = [f"{heading}:" for heading in DESCRIBED[name].groups()]
    assert headings == ["Examples:", *(["Arguments:"] if DESCRIBED[name].arguments else []), *groups]
    assert groups[-1] == "Output and messages:" and len(set(groups)) == len(groups)
    assert page.startswith(f"Usage: r1 {name} ") and page.index("Examples:") < 200


def test_long_commands_name_their_groups():
    """More than a screen of options under one heading is a list that nobody reads; headings name real options."""
    for name, command in DESCRIBED.items():
        groups = command.groups()
        assert max(map(len, groups.values())) <= 14, name
        assert OPTIONS not in groups or len(command.options) < 16, name
        module = __import__(find(name).__module__, fromlist=["HEADINGS"])
        names = {parameter.name for parameter in command.options}
        assert set(getattr(module, "HEADINGS", {})) <= names - set(COMMON_HEADINGS), name


@pytest.mark.parametrize("name", COMMANDS)
def test_folded_examples_are_the_same_command(name):
    """What is folded at 80 columns can be pasted as it stands: the shell reads the same words."""
    for example in DESCRIBED[name].examples:
        folded = "\n".join(helping.fold_shell(example, 80, "  "))
        pasted = folded.replace("\\\n", "")
        assert shlex.split(pasted, comments=True) == shlex.split(example, comments=True)
        assert pasted.partition("#")[2] == example.partition("#")[2]


def test_folding_keeps_what_belongs_together():
    """A pipe inside quotes is no pipe, a file stays with its redirection, a comment is not continued."""
    long = "r1 reward --exec 'a=jq -c \"{rid, reward: (1 / (.completion | length))}\"' --jobs 2 < in.jsonl # why | so"
    assert helping.fold_shell(long, 50, "  ") == [
        "  r1 reward \\",
        "      --exec 'a=jq -c \"{rid, reward: (1 / (.completion | length))}\"' \\",
        "      --jobs 2 < in.jsonl # why | so",
    ]
    assert helping.fold_shell("r1 a | r1 b", 80, "") == ["r1 a | r1 b"]
    assert helping.fold_shell("r1 aaaaaaaa --b | r1 cccccc", 20, "") == ["r1 aaaaaaaa --b \\", "    | r1 cccccc"]


def test_ways_to_ask():
    """--help, -h, help X and help alone: the same pages, on stdout, with exit code 0."""
    page = run_r1("sample", "--help", env={"COLUMNS": "80"}, check=0).stdout
    assert page.decode() == helping.command_page(DESCRIBED["sample"], 80)
    for way in (["sample", "-h"], ["help", "sample"], ["sample", "ckpt", "--group", "4", "-h"]):
        assert run_r1(*way, env={"COLUMNS": "80"}, check=0).stdout == page
    whole = run_r1("--help", check=0).stdout
    for way in ([], ["-h"], ["help"], ["help", "help"], ["help", "r1"]):
        assert run_r1(*way, check=0).stdout == whole
