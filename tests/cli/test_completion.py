"""Completion in the real shells: a pseudo-terminal, keys typed, TAB pressed, and the line read back."""

import re
import subprocess
from pathlib import Path

import pytest
from shells import Shell

from r1cli.app import COMMANDS
from r1cli.manual import generate, values
from r1cli.signatures import Parameter

ROOT = Path(__file__).parents[2]
COMPLETIONS = ROOT / "completions"
DESCRIBED = {command.name: command for command in generate.described()}
SHELLS = ("bash", "zsh", "fish")
TAB, ALL = "\t", "\x18a"  # the second is bound to "insert all candidates" (shells.py)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run inside a folder, a model, a run whose name has a space, and files that are none of these."""
    folder = tmp_path_factory.mktemp("completion")
    for name in ("home/kept", "runs/zero/step-000000", "runs/notes", "model", "other/deep/er", "my run"):
        (folder / name).mkdir(parents=True)
    for name in ("runs/zero/run.json", "runs/zero/step-000000/config.json", "model/config.json", "my run/run.json"):
        (folder / name).write_text("{}")
    for name in ("in.jsonl", "in.txt", "data.csv", "mine.py", "held out.jsonl", "home/kept/run.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.fixture(scope="module", params=SHELLS)
def shell(request, folder):
    with Shell(request.param, folder, COMPLETIONS) as shell:
        yield shell


LINES = [
    ("r1 sam", "r1 sample "),
    ("r1 help str", "r1 help stream "),
    # options, their values after a space and after =
    ("r1 sample model --temper", "r1 sample model --temperature"),
    ("r1 serve runs/zero --no-s", "r1 serve runs/zero --no-sleep "),
    ("r1 grpo-step --loss gspo-", "r1 grpo-step --loss gspo-token "),
    ("r1 grpo-step --loss=ci", "r1 grpo-step --loss=cispo "),
    ("r1 reward --language --acc", "r1 reward --language --accuracy "),
    # names that stand in no signature: rewards, presets, templates, tasks
    ("r1 reward --weight fo", "r1 reward --weight format="),
    ("r1 eval model --preset math5", "r1 eval model --preset math500 "),
    ("r1 sample model --template r1-", "r1 sample model --template r1-zero "),
    ("r1 plot runs/zero -m accur", "r1 plot runs/zero -m accuracy "),
    ("r1 plot runs/zero -m pas", "r1 plot runs/zero -m pass@1 "),
    ("r1 prompts countd", "r1 prompts countdown "),
    # checkpoints by what is in them: runs, models, folders that lead to one
    ("r1 sample mod", "r1 sample model"),
    ("r1 sample runs/", "r1 sample runs/zero"),
    ("r1 sample ru", "r1 sample runs/"),
    ("r1 serve m", "r1 serve my\\ run"),
    ("r1 eval tiny-", "r1 eval tiny-student "),
    ("r1 init new --from ~/k", "r1 init new --from ~/kept"),
    ("r1 sample oth", "r1 sample other/"),
    # files by type, at the place where one is expected
    ("r1 filter in.", "r1 filter in.jsonl "),
    ("r1 sample model in.", "r1 sample model in.jsonl "),
    ("r1 filter held", "r1 filter held\\ out.jsonl "),
    ("r1 prompts dat", "r1 prompts data.csv "),
    ("r1 reward --python min", "r1 reward --python mine.py "),
    ("r1 export runs/zero oth", "r1 export runs/zero other/"),
]


def test_lines(shell):
    """What one TAB makes of a line; shells differ in what they put behind a folder and behind an option."""
    for typed, wanted in LINES:
        line = shell.after(typed + TAB)
        assert line in {wanted + end for end in ("", " ", "/", "=")}, (shell.kind, typed)


def test_what_does_not_fit_is_not_offered(shell, folder):
    """Numbers are nobody's to guess; a model is not offered where only a run can be, nor a table as records."""
    for typed in ("r1 sample model --group ", "r1 reward --exec "):
        assert shell.after(typed + TAB) == typed
    runs = offered(shell.kind, shell, folder, "r1 serve ")
    assert {"runs"} <= {name.rstrip("/") for name in runs} and not {"model", "model/", "other/", "in.jsonl"} & runs
    records = offered(shell.kind, shell, folder, "r1 filter ")
    assert "in.jsonl" in records and not {"in.txt", "data.csv", "mine.py"} & records


def offered(kind, shell, folder, line):
    """All that a shell offers at the end of a line: the words that it inserts, or in fish, lists."""
    if kind == "fish":
        source = f"source {COMPLETIONS}/r1.fish; complete -C '{line}'"
        done = subprocess.run(["fish", "--no-config", "-c", source], cwd=folder, capture_output=True, text=True)
        return {candidate.partition("\t")[0].removesuffix("=") for candidate in done.stdout.splitlines()}
    typed = line.rpartition(" ")[0]
    return {word.removesuffix("=") for word in shell.after(line + ALL).removeprefix(typed).split()}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_choice_is_offered(shell, folder, name):
    """Of each command in each shell, all its long options; and the choices of the first option that has some."""
    command = DESCRIBED[name]
    flags = {flag for option in command.options for flag in (*option.flags, *option.negative) if flag[:2] == "--"}
    arguments = "runs/zero " * sum(argument.required for argument in command.arguments)
    assert offered(shell.kind, shell, folder, f"r1 {name} {arguments}--") == flags
    for option in [option for option in command.options if option.choices][:1]:
        assert offered(shell.kind, shell, folder, f"r1 {name} {option.flags[0]} ") == set(option.choices)


@pytest.mark.parametrize("file", ["r1.bash", "_r1", "r1.fish"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_choice_is_in_the_file(file, name):
    """Short options too, which the shells offer only after a single dash."""
    text = (COMPLETIONS / file).read_text()
    for option in DESCRIBED[name].options:
        for word in (*option.flags, *option.negative, *option.choices):
            spelt = f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}" if word[0] == "-" else word
            wanted = spelt if file == "r1.fish" else word
            if file != "r1.bash" or not (option.switch and len(word) == 2):  # bash: a switch of one letter is itself
                assert re.search(rf"(?<![\w-]){re.escape(wanted)}(?![\w-])", text), (name, word)


def test_a_new_command_needs_no_entry():
    """By its metavar and type an option completes itself."""

    def of(metavar, kind=str, name="novel", choices=()):
        made = Parameter(name, ("--novel",), (), metavar, choices, kind, False, False, None, "", "Help.", "Options")
        return values.of("novel", made)

    assert of("RUN").places == "runs" and of("CKPT|URL").places == "models"
    assert of("[FILE]...", Path).suffixes == ("jsonl",)
    assert of("PICTURE", Path) == values.Values(places="files")
    assert of("N", int) == values.Values()
    assert of("", choices=("a", "b")).words == ("a", "b")


def test_bash_starts_no_process(folder):
    """A TAB costs a millisecond because nothing is started, not even a shell; tests/bench/completion.py measures it."""
    script = [f"source {COMPLETIONS}/r1.bash; PATH=; ulimit -u 0 2> /dev/null"]
    for line, _ in LINES:
        words = line.replace("=", " = ").split() + ([""] if line.endswith(" ") else [])
        script.append(f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}; _r1; echo ${{#COMPREPLY[@]}}")
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(script)], cwd=folder, capture_output=True, env={"HOME": str(folder / "home")}
    )
    assert done.stderr == b""
    assert [int(count) > 0 for count in done.stdout.split()] == [True] * len(LINES)
    text = (COMPLETIONS / "r1.bash").read_text()
    assert not re.search(r"\$\([^(]|`|<\(", text)  # no substitution, and so no subshell
