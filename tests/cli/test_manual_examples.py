"""Every example of every man page is run, as it stands, in a folder that has what the examples name.

What needs a machine or a network that a test has not (PARSED) is read by the program's own parser instead. The pages
of commands without a source of their own show the examples of their docstrings; those are read too, here and for help.
"""

import json
import re
import shlex
import shutil

import pytest
from conftest import shell
from remote_server import FakeServer, chat

from r1cli import usage
from r1cli.app import COMMANDS, find
from r1cli.manual import generate, sources

PAGES = sorted(path.stem for path in sources.FOLDER.glob("*.txt"))
SCRIPTS = {name: sources.scripts(sources.load(name)) for name in PAGES}
# Data sets of the hub, eight GPUs, and what ends by Ctrl-C.
PARSED = re.compile(r"--preset \w+|--gpus 8\b|--follow")
# In these words by the fixture, once for all pages: the served run makes commands on it thin clients.
BEGIN, SERVE, END = "r1 init ckpt --from tiny", "r1 serve ckpt --detach", "r1 serve ckpt --stop"
URL = "http://localhost:8000/v1"
MINE = "def score(row):\n    return 1.0 / len(row['completion'])\n"
PROGRAM = "```python\nprint(int(input()) * 2)\n```"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder that the examples begin in; a page gets a copy, but the run `ckpt`, which is served for all."""
    folder = tmp_path_factory.mktemp("manual")
    script = f"""set -euo pipefail
        {BEGIN}
        {SERVE}
        r1 init -q runs/zero --from tiny --seed 1
        r1 export -q runs/zero base
        r1 prompts -q sum --limit 6 -o questions.jsonl
        r1 prompts -q sum --split test --limit 12 -o held-out.jsonl
        r1 sample -q ckpt questions.jsonl --group 4 -o rollouts.jsonl
        r1 reward -q --format --accuracy rollouts.jsonl -o rewarded.jsonl
        r1 filter -q --per-prompt 2 rewarded.jsonl -o examples.jsonl
    """
    try:
        done = shell(script, cwd=folder, timeout=600)
        assert done.returncode == 0, done.stderr
        _furnish(folder)
        yield folder
    finally:
        shell(END, cwd=folder)


def _furnish(folder):
    """What the commands do not make: files of the user's, and a model in the hub's cache."""
    test = {"prompt": "Double it.", "tests": [{"input": "4", "output": "8"}], "completion": PROGRAM}
    (folder / "programs.jsonl").write_text(json.dumps(test) + "\n")
    (folder / "mine.csv").write_text("text,solution\nWhat is 2+2?,\\boxed{4}\nWhat is 3+3?,so \\boxed{6}\n")
    (folder / "mine.py").write_text(MINE)
    metrics = [{"step": step, "reward": step / 200, "kl": 0.1, "length_mean": 9.0} for step in range(1, 201)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in metrics))
    hub = folder / "hub" / "models--Qwen--Qwen2.5-1.5B"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("0")
    (hub / "snapshots").mkdir()
    (hub / "snapshots" / "0").symlink_to(folder / "base")


@pytest.fixture(scope="module")
def server():
    """Adds up the digits that it is asked about, and has a verdict on everything."""

    def answer(request):
        verdict = "incorrect" if len(request.question) % 3 else "correct"
        total = sum(map(int, re.findall(r"\d", request.question)))
        return chat(f'<think>so</think>\\boxed{{{total}}}\n{{"verdict": "{verdict}"}}')

    with FakeServer(answer) as fake:
        yield fake.url


@pytest.mark.parametrize("page", PAGES)
def test_examples_run(prepared, server, tmp_path, page):
    """In order, under set -euo pipefail, each with a copy of the folder to itself."""
    for entry in prepared.iterdir():
        if entry.name == "ckpt":
            (tmp_path / "ckpt").symlink_to(entry)
        elif entry.is_dir():
            shutil.copytree(entry, tmp_path / entry.name, symlinks=True)
        else:
            shutil.copy(entry, tmp_path)
    scripts = [text for text in SCRIPTS[page] if not PARSED.search(text) and text not in (BEGIN, SERVE, END)]
    assert scripts
    script = "\n".join(scripts).replace(URL, server)
    assert "hf download" not in script
    environment = f"set -euo pipefail; export HF_HUB_CACHE={shlex.quote(str(tmp_path / 'hub'))} HF_HUB_OFFLINE=1\n"
    done = shell(environment + script, cwd=tmp_path.resolve(), timeout=600)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr


def commands_of(script):
    """The words of each r1 in a script: up to a pipe, a redirection or the end of the line."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "r1" in words:
            words = words[words.index("r1") + 1 :]
            ends = [place for place, word in enumerate(words) if word in ("|", "<", ">", ";", "&&", "r1")]
            yield words[: ends[0]] if ends else words


def accepted(words):
    """Whether typer reads the line as the command's own; nothing is run."""
    function, seen = find(words[0]), []

    def record(**values):
        seen.append(values)

    record.__annotations__, record.__doc__ = function.__annotations__, function.__doc__
    record.__signature__ = __import__("inspect").signature(function)
    usage.build({words[0]: record})(words, standalone_mode=False)
    return bool(seen)


def test_the_others_are_read_by_the_parser():
    """Those that are not run, and the examples of the docstrings, which help shows."""
    texts = [script for scripts in SCRIPTS.values() for script in scripts if PARSED.search(script)]
    assert len(texts) == 4
    texts += [example for command in generate.described() for example in command.examples]
    read = [words for text in texts for words in commands_of(text)]
    assert {words[0] for words in read} == set(COMMANDS)
    for words in read:
        assert accepted(words), words
