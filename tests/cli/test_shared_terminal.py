"""Several programs of ours on one terminal, as in a pipe: one progress line, whole messages, a pager undisturbed."""

import os
import pty
import re
import select
import shlex
import subprocess
import sys

import pytest
from conftest import R1
from terminals import TERMINAL, Terminal

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


class Screen:
    """A pseudo-terminal, and what it would show: carriage return, line end and erasing to the end of the line."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self.seen = ""

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 1 << 16).decode()
        return self.seen

    def lines(self):
        """The lines as a person sees them in the end."""
        lines, column = [""], 0
        for part in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+", self.read()):
            if part == "\r":
                column = 0
            elif part == "\n":
                lines.append("")
                column = 0
            elif part == "\x1b[K":
                lines[-1] = lines[-1][:column]
            else:
                lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part) :]
                column += len(part)
        return lines


@pytest.fixture
def screen():
    screen = Screen()
    yield screen
    os.close(screen.master)
    os.close(screen.slave)


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


def on(screen, script, **named):
    """A shell line in which r1 is the program, with the screen as its standard error."""
    program = f'r1() {{ {shlex.join(R1)} "$@"; }}\n'
    return subprocess.Popen(["bash", "-c", f"set -o pipefail\n{program}{script}"], stderr=screen.slave, **named)


def test_stages_of_a_step_never_mix(served, screen):
    """A whole step through the real programs: in the end there are two closing lines, each as it was written."""
    script = f"r1 sample {served} | r1 reward --format --accuracy | r1 grpo-step > /dev/null"
    assert on(screen, script, env=TERMINAL).wait(timeout=120) == 0
    reward, step, rest = screen.lines()
    assert re.fullmatch(r"r1 reward: 128 records, mean reward \d.* groups without variance", reward)
    assert re.fullmatch(r"r1 grpo-step: step 1: reward .* of \d+\.\d tokens", step)
    assert rest == "" and "r1 sample: " in screen.seen
    # Of all that was drawn on the way only one stage's line was on the screen at a time.
    drawn = [line for line in re.split(r"\r\x1b\[K|\n", screen.seen.replace("\r\n", "\n")) if line]
    assert all(re.match(r"r1 [a-z-]+: ", line) and line.count("r1 ") == 1 for line in drawn)


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
