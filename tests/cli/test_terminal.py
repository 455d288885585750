"""What a person sees: tests through a real pseudo-terminal, as stdin, stdout or stderr."""

import json
import os
import pty
import re
import select
import shlex
import subprocess
import time

import pytest
from conftest import ENVIRONMENT, R1, run_r1
from terminals import Screen

ROLLOUT = {
    "id": "a", "prompt": "1 + 1", "answer": "2", "completion": "<think>hm</think><answer>2</answer>",
    "rewards": {"accuracy": 1.0}, "reward": 1.0, "group": {"id": "g", "index": 1, "size": 4},
    "policy": {"run": "r", "path": "p", "step": 3}, "completion_ids": [1, 2], "finish": "length",
}  # fmt: skip
TERMINAL = {key: value for key, value in ENVIRONMENT.items() if key != "NO_COLOR"}
TERMINAL |= {"TERM": "xterm-256color", "PAGER": "cat"}


def on_terminal(arguments, *, streams, stdin=b"", env=None):
    """Runs r1 with the named streams on a pseudo-terminal; returns (exit code, what the terminal got, piped stdout)."""
    master, slave = pty.openpty()
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(
        [*R1, *map(str, arguments)],
        **{name: slave if name in streams else other for name, other in piped.items()},
        env=TERMINAL | (env or {}),
        start_new_session=True,
    )
    os.close(slave)
    if process.stdin:
        process.stdin.write(stdin)
        process.stdin.close()
    seen, out, sources = b"", b"", [master, *([process.stdout] if process.stdout else [])]
    deadline = time.monotonic() + 60
    while sources:
        ready, _, _ = select.select(sources, [], [], max(0, deadline - time.monotonic()))
        assert ready, "r1 hangs"
        for source in ready:
            try:
                data = os.read(source if source == master else source.fileno(), 1 << 16)
            except OSError:  # a terminal whose other end is closed reads as an error
                data = b""
            if not data:
                sources.remove(source)
            elif source == master:
                seen += data
            else:
                out += data
    os.close(master)
    return process.wait(timeout=20), seen.decode(), out


SAMPLE = ["--questions", "8", "--group", "16"]


def test_progress_on_a_terminal(served):
    """One line that redraws itself and is gone at the end; the records are the same as without it."""
    code, seen, out = on_terminal(["sample", served, *SAMPLE], streams={"stderr"})
    assert code == 0
    assert len(out.splitlines()) == 128
    assert re.match(r"\r\x1b\[Kr1 sample: starting\r\x1b\[Kr1 sample: \d+ rollouts\r", seen)
    assert "\n" not in seen
    assert seen.endswith("\r\x1b[K")
    assert out == run_r1("sample", served, *SAMPLE, check=0).stdout


def test_stages_of_a_step_never_mix(served):
    """A whole step through the real programs: in the end there are two closing lines, each as it was written."""
    screen = Screen()
    script = f"r1 sample {served} | r1 reward --format --accuracy | r1 grpo-step > /dev/null"
    program = f'r1() {{ {shlex.join(R1)} "$@"; }}\nset -o pipefail\n'
    subprocess.run(["bash", "-c", program + script], stderr=screen.slave, env=TERMINAL, timeout=120, check=True)
    reward, step, rest = screen.lines()
    assert re.fullmatch(r"r1 reward: 128 records, mean reward \d.* groups without variance", reward)
    assert re.fullmatch(r"r1 grpo-step: step 1: reward .* of \d+\.\d tokens", step)
    assert rest == "" and "r1 sample: " in screen.seen
    # Of all that was drawn on the way only one stage's line was on the screen at a time.
    drawn = [line for line in re.split(r"\r\x1b\[K|\n", screen.seen.replace("\r\n", "\n")) if line]
    assert all(re.match(r"r1 [a-z-]+: ", line) and line.count("r1 ") == 1 for line in drawn)
    screen.close()


DUMB = {"TERM": "dumb"}


@pytest.mark.parametrize(
    ("options", "env", "said"),
    [(["-q"], {}, ""), (["-v"], {}, "r1 sample: {run} is being served: its backend does the work\r\n"), ([], DUMB, "")],
    ids=["quiet", "verbose", "dumb"],
)
def test_no_progress(served, options, env, said):
    """No progress with -q, with -v (which is for logs, and says where the work is done) or on a dumb terminal."""
    code, seen, out = on_terminal(["sample", served, *SAMPLE, *options], streams={"stderr"}, env=env)
    assert (code, seen, len(out.splitlines())) == (0, said.format(run=served), 128)


def test_no_progress_in_a_pipe(served):
    assert run_r1("sample", served, *SAMPLE, check=0).stderr == b""


def test_error_after_progress_stands_on_its_own_line(served):
    """A progress line that is still drawn is erased before the message."""
    record = json.dumps({"prompt": "1 + 1", "id": "a"})
    code, seen, _ = on_terminal(["sample", served, "-", "--group", "x"], streams={"stderr"}, stdin=record.encode())
    assert code == 2
    assert seen == ("r1 sample: invalid value for '--group': 'x' is not a whole number; see r1 sample --help\r\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["reward", "--format"],
        ["grpo-step"],
        ["show"],
        ["eval"],
        ["eval", "-"],
        ["sample", "RUN", "-"],
        ["prompts", "-"],
    ],
)
def test_terminal_with_nothing_to_read(served, arguments):
    """Waiting for someone to type JSON is never what was meant: how the command is used, and what is missing."""
    arguments = [str(served) if word == "RUN" else word for word in arguments]
    code, seen, _ = on_terminal(arguments, streams={"stdin", "stderr"})
    assert code == 2
    usage, _, error = seen.removesuffix("\r\n").rpartition("\r\n\r\n")
    assert error == (
        f"r1 {arguments[0]}: nothing to read: standard input is a terminal; name a file or pipe records in"
    )
    assert usage.startswith(f"Usage: r1 {arguments[0]} [OPTIONS] ") and "\r\nExamples:\r\n  r1 " in usage


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["sample"], "missing argument 'CKPT'; see r1 sample --help"),
        (["reward"], "nothing to judge by: name at least one of --accuracy"),
        (["rollback"], "missing argument 'RUN'; see r1 rollback --help"),
    ],
)
def test_a_bare_command_shows_how_it_is_used(arguments, error):
    """Typed by a person, the name alone is a question; with a word more, or in a script, it is a mistake: one line."""
    code, seen, _ = on_terminal(arguments, streams={"stdin", "stderr"})
    usage, _, last = seen.removesuffix("\r\n").rpartition("\r\n\r\n")
    assert code == 2 and last.startswith(f"r1 {arguments[0]}: {error}")
    assert usage.startswith(f"Usage: r1 {arguments[0]} ") and "Example" in usage
    code, seen, _ = on_terminal([*arguments, "-q"], streams={"stdin", "stderr"})
    assert code == 2 and seen.startswith(f"r1 {arguments[0]}: ") and seen.count("\n") == 1
    code, seen, _ = on_terminal(arguments, streams={"stderr"})
    assert code == 2 and seen.startswith(f"r1 {arguments[0]}: ") and seen.count("\n") == 1


def test_own_questions_need_no_stdin(served):
    """sample and eval of a run draw their own questions, whatever standard input is."""
    code, _, out = on_terminal(["sample", served, *SAMPLE], streams={"stdin"})
    assert (code, len(out.splitlines())) == (0, 128)


def show(record, *options, env=None, streams=frozenset({"stdout"})):
    code, seen, out = on_terminal(["show", *options], streams=streams, stdin=json.dumps(record).encode(), env=env)
    assert code == 0
    return seen or out.decode()


def test_colour_on_a_terminal_only():
    """Colour needs a terminal that can, and nobody who said no."""
    painted = show(ROLLOUT)
    assert "\x1b[32mreward 1\x1b[0m" in painted and "\x1b[2m<think>hm</think>\x1b[0m" in painted
    assert "\x1b[31mreward 0\x1b[0m" in show({**ROLLOUT, "reward": 0})
    assert "\x1b[33mreward null\x1b[0m" in show({**ROLLOUT, "reward": None})
    plain = show(ROLLOUT, env={"NO_COLOR": "1"})
    assert "\x1b" not in plain and "reward 1" in plain
    assert show(ROLLOUT, env={"TERM": "dumb"}) == plain
    assert show(ROLLOUT, streams=set()).replace("\n", "\r\n") == plain
    assert show(ROLLOUT, env={"NO_COLOR": ""}) == painted


def test_rollout_as_a_page():
    """The whole page, so that a change of its look is a decision."""
    assert show(ROLLOUT, streams=set()) == (
        "── a · sample 2 of 4 · step 3 · 2 tokens, cut off ──\n"
        "reward 1  accuracy 1\n"
        "Q 1 + 1\n"
        "\n"
        "<think>hm</think>\n"
        "<answer>2</answer>\n"
        "\n"
        "expected: 2\n"
        "\n"
    )


EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\x08"


def test_control_characters_are_shown_and_not_obeyed():
    """Model text, keys, reasons and ids can't clear the screen, set a title or move the cursor."""
    record = {
        "id": EVIL, "prompt": EVIL, "answer": EVIL, "completion": f"{EVIL}<think>{EVIL}</think>{EVIL}\ttab\nline",
        "rewards": {EVIL: EVIL}, "reward": EVIL, "reward_info": {EVIL: {"reason": EVIL}}, "dropped": EVIL,
        "group": {"index": EVIL, "size": EVIL}, "policy": {"step": EVIL},
    }  # fmt: skip
    for shown in (show(record, env={"NO_COLOR": "1"}), show({EVIL: EVIL, "k": {EVIL: [EVIL]}}, env={"NO_COLOR": "1"})):
        rest = shown.replace("\r\n", "\n")
        assert all(c.isprintable() or c in "\n\t" for c in rest)
        assert "\\x1b[2J" in rest and "\\x9b31m" in rest and "\\x0d\\x08" in rest
    assert re.search(r"\\x08 +tab\r\nline", show(record))
    assert "\ttab\nline" in show(record, streams=set())


@pytest.mark.parametrize(
    "record",
    [
        {"completion": "x", "group": [], "policy": 3, "reward": "high", "rewards": [1], "reward_info": "none"},
        {"completion": "x", "messages": ["hello"], "reward": None, "rewards": {"a": None}, "reward_info": {"a": 1}},
        {"completion": "x", "group": {"index": "one"}, "messages": [], "id": None, "completion_ids": 7},
        {"completion": 5, "step": 1},
        {},
    ],
)
def test_any_object_can_be_shown(record):
    """show is for looking at what is wrong: it never fails on a record's types."""
    done = run_r1("show", stdin=json.dumps(record).encode(), check=0)
    assert done.stderr == b"" and done.stdout.endswith(b"\n")


def test_messages_are_asked_as_their_last_turn():
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "1 + 1?"}]
    assert "Q 1 + 1?\n" in show({"completion": "2", "messages": turns}, streams=set())


def test_program_alone_shows_help():
    """Typed alone it answers with the overview, as --help does."""
    code, seen, _ = on_terminal([], streams={"stdin", "stdout", "stderr"})
    assert code == 0
    assert seen.startswith("Usage: r1 COMMAND [OPTIONS] [ARGUMENTS]")
    assert seen.replace("\r\n", "\n") == run_r1("--help", check=0).stdout.decode()
