"""r1 plot through the program: what terminals of every kind get, files, errors, and --follow."""

import json
import os
import signal
import subprocess
import time

import pytest
from conftest import ENVIRONMENT, R1, run_r1
from terminals import Terminal, plain


def update(step, reward):
    return json.dumps({"step": step, "reward": reward, "kl": step * 1e-7, "clip_fraction": 0}) + "\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs with metrics, one of them with a torn last line, as a reader of a working run may find it."""
    folder = tmp_path_factory.mktemp("runs")
    for name, rewards, torn in (("up", range(9), '{"step":'), ("down", range(8, -1, -1), "")):
        (folder / name).mkdir()
        lines = "".join(update(step, reward) for step, reward in enumerate(rewards, 1))
        (folder / name / "metrics.jsonl").write_text(lines + torn)
    return folder


def test_one_run_as_text(runs):
    """The whole drawing, so that a change of its look is a decision: axes with ranges, what never changes aside."""
    shown = run_r1("plot", runs / "up", "--height", "2", env={"LANG": "C.UTF-8"}, check=0).stdout.decode()
    assert shown == (
        "reward: 0 → 8                            KL to the reference: 1e-07 → 9e-07\n"
        "       8 ┤                ▁▂▂▃▃▄▄▅▆▆▇▇█     9e-07 ┤              ▁▁▂▂▃▃▄▄▅▅▆▆▇▇█\n"
        "       0 ┤ ▁▁▂▂▃▄▄▅▅▆▆▇████████████████         0 ┤▂▂▃▄▄▄▅▅▆▇▇██████████████████\n"
        "          1                      step 9            1                      step 9\n"
        "\n"
        "clip share: 0 throughout\n"
    )


def columns(shown):
    """How wide the widest line is, without what colours it."""
    return max(map(len, plain(shown).splitlines()))


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"LC_ALL": "C"}], ids=str)
def test_several_runs_on_any_terminal(runs, env):
    """Lines in colour where the terminal can, letters where not, nothing but ASCII without UTF-8; 80 columns."""
    shown, code = Terminal("plot", runs / "up", runs / "down", env=env).end()
    assert code == 0 and columns(shown) <= 80
    coloured = "TERM" not in env and "NO_COLOR" not in env
    assert ("\x1b[38;5;" in shown) == coloured
    assert any("⠀" < letter <= "⣿" for letter in shown) == (not env)
    assert shown.isascii() == ("LC_ALL" in env)
    lines = plain(shown).splitlines()
    assert lines[0] == ("a up   b down" if env else "━━ up   ━━ down")
    if env:
        rows = [line.partition("┤" if "┤" in shown else "|")[2][:28] for line in lines[3:11]]
        # They cross: what is written later lies on top.
        assert rows[0][0] == "b" and rows[0].rstrip()[-1] == "a" and rows[-1][0] == "a" and rows[-1].rstrip()[-1] == "b"


def test_picture_of_two_runs(runs, tmp_path):
    """-o draws instead, publishes by a rename, and says what a name must end in."""
    picture = tmp_path / "two.svg"
    done = run_r1("plot", runs / "up", runs / "down", "--label", "first", "--label", "second", "-o", picture, check=0)
    assert done.stdout == b"" and os.listdir(tmp_path) == ["two.svg"]
    assert picture.read_text().count("<!-- second -->") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["up", "-o", "a.jpg"], "--output a.jpg: expected a name that ends in .png or .svg"),
        (["up", "--label", "a", "--label", "b"], "2 --label for 1 sources: give one for each, or none"),
        (["up", "-o", "a.png", "--height", "2"], "--height is for the terminal; the size of a picture follows from"),
        (["up", "--theme", "dark"], "--theme is for pictures (-o FILE.png); the terminal has its own colours"),
        (["up", "-m", "nope"], "no update has a number named nope; there are reward, kl, clip, step"),
        (["up", "--over", "k"], "pass@k needs results of r1 eval (--pass-at 1,2,4,8) or judged samples"),
        (["."], ". has no updates yet (no metrics.jsonl)"),
        (["up", "--follow"], "--follow needs a terminal to draw on again, or a picture (-o FILE.png)"),
        (["-"], "stdin: no update has a number to draw"),
    ],
)
def test_errors(runs, arguments, message):
    done = run_r1("plot", *arguments, cwd=runs)
    assert done.returncode == 2 and done.stdout == b"" and done.stderr.count(b"\n") == 1
    assert done.stderr.decode().startswith(f"r1 plot: {message}")


def test_a_run_without_the_metric_is_named(runs, tmp_path):
    """It is not just missing from the legend; the others are drawn."""
    (tmp_path / "taught.jsonl").write_text('{"step": 1, "loss": 2}\n{"step": 2, "loss": 1}\n')
    done = run_r1("plot", runs / "up", "taught.jsonl", "-m", "reward", "-m", "kl", cwd=tmp_path, check=0)
    assert done.stdout and done.stderr == b"r1 plot: warning: taught.jsonl is left out: it has no reward or kl\n"


def test_follow_draws_what_comes(tmp_path):
    """Waits for a run's first update, draws over itself, fits the screen, and Ctrl-C ends it as it ends any program."""
    run = tmp_path / "run"
    run.mkdir()
    terminal = Terminal("plot", run, "--follow", *["-m", "reward"] * 8)
    terminal.until("waiting for the first update of ")
    for step in (1, 2, 3):
        with (run / "metrics.jsonl").open("a") as file:
            file.write(update(step, step / 2))
        terminal.until(f"step {step}\\b")
    (run / "metrics.jsonl").write_text(update(1, 0.5))  # a rollback
    terminal.until("(?s)step 3.*step 1")
    terminal.process.send_signal(signal.SIGINT)
    seen, code = terminal.end()
    assert code == -signal.SIGINT
    frames = seen.split("\x1b[H")[1:-1]  # Ctrl-C may have cut the last
    assert len(frames) >= 3 and all(frame.count("\n") < 24 and frame.endswith("\x1b[J") for frame in frames)
    assert all(frame.count("reward: ") == 8 for frame in frames)
    assert seen.count("\x1b[2J") == 1


def test_follow_of_a_pipe_ends_with_it(tmp_path):
    """A loop can be piped in; the picture is drawn on the way and complete at the end."""
    picture = tmp_path / "p.svg"
    process = subprocess.Popen(
        [*R1, "plot", "--follow", "-", "-o", picture, "-m", "reward"], stdin=subprocess.PIPE, env=ENVIRONMENT
    )
    process.stdin.write((update(1, 1) + update(2, 2)).encode())
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not picture.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first = picture.read_bytes()
    process.stdin.write(update(3, 0).encode().rstrip())  # the last line without its end
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    assert picture.read_bytes() != first
    assert picture.read_bytes() == _picture_of(tmp_path / "all.jsonl", update(1, 1) + update(2, 2) + update(3, 0))


def _picture_of(file, lines):
    file.write_text(lines)
    run_r1("plot", file, "-o", file.with_suffix(".svg"), "-m", "reward", check=0)
    return file.with_suffix(".svg").read_bytes()
