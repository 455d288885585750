"""Several programs of ours on one terminal, as in a pipe: one progress line, whole messages, a pager undisturbed."""

import subprocess
import sys

import pytest
from terminals import TERMINAL, Screen, Terminal

# A stage that does what it is told: shows how far it is, says a line, has done.
STAGE = """
import sys
from r1cli import terminal, ui
ui.setup(sys.argv[1])
progress = ui.Progress()
for word in sys.stdin:
    progress.last = 0.0
    if word == "show\\n":
        progress.update("half way")
    elif word == "say\\n":
        ui.say("a line")
    elif word == "done\\n":
        progress.clear()
    elif word == "page\\n":
        terminal.take(terminal.PAGER)
    else:
        terminal.release(terminal.PAGER)
    print("did it", flush=True)
ui.say_held()
"""


@pytest.fixture
def screen():
    screen = Screen()
    yield screen
    screen.close()


class Stage:
    """A process that follows orders, with the screen as its standard error."""

    def __init__(self, name, screen):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", STAGE, name], stdin=pipe, stdout=pipe, stderr=screen.slave, env=TERMINAL, text=True
        )

    def does(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "did it\n"

    def ends(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(timeout=60) == 0


def test_the_first_has_the_line_until_it_is_done(screen):
    """The other is silent, its messages do not mix with the line, and it may show how far it is afterwards."""
    first, second = Stage("first", screen), Stage("second", screen)
    first.does("show")
    second.does("show")
    assert screen.lines() == ["r1 first: half way"]
    second.does("say")
    first.does("show")
    assert screen.lines() == ["r1 second: a line", "r1 first: half way"]
    first.does("say")
    assert screen.lines() == ["r1 second: a line", "r1 first: a line", ""]
    first.does("show")
    first.does("done")
    second.does("show")
    assert screen.lines()[-1] == "r1 second: half way"
    second.does("done")
    second.ends()
    first.does("show")
    first.process.kill()  # whatever ends a process, its line is free
    first.process.wait()
    third = Stage("third", screen)
    third.does("show")
    assert screen.lines()[-1] == "r1 third: half way"
    third.does("done")
    third.ends()


def test_a_pager_has_the_screen(screen):
    """Progress is not drawn while there is one, and messages wait for its end, or for that of their program."""
    pager, first, second = Stage("show", screen), Stage("first", screen), Stage("second", screen)
    pager.does("page")
    for word in ("show", "say", "done"):
        first.does(word)
        second.does(word)
    assert screen.read() == ""
    second.ends()
    assert screen.lines() == ["r1 second: a line", ""]
    pager.does("leave")
    first.does("say")
    assert screen.lines() == ["r1 second: a line", "r1 first: a line", "r1 first: a line", ""]


def test_own_messages_come_after_the_pager(tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"id": "a"}\nno\n')
    seen, code = Terminal("show", "--skip-bad", file, env={"PAGER": "sleep 0.2; cat; echo left"}).end()
    assert (seen.split("\x1b[K")[-1], code) == ("r1 show: warning: skipped 1 bad lines\n", 0)
    assert "left\n" in seen
