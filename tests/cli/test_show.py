"""r1 show through the program: its ways of showing, the pager, terminals of every kind, and streams without end."""

import json
import signal
import subprocess
import time

import pytest
from conftest import ENVIRONMENT, R1, run_r1
from terminals import Terminal, plain


def lines(*records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def sample(index, reward, answer):
    return {
        "id": "q", "prompt": "1 + 1", "answer": "2", "completion": f"<think>hm</think><answer>{answer}</answer>",
        "group": {"id": "g", "index": index, "size": 2}, "rewards": {"accuracy": reward}, "reward": reward,
    }  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A group of two samples, and the same judged by somebody else."""
    folder = tmp_path_factory.mktemp("shown")
    (folder / "a.jsonl").write_bytes(lines(sample(0, 1, 2), sample(1, 0, 3)))
    (folder / "b.jsonl").write_bytes(lines(sample(1, 1, 3), sample(0, 1, 2)))
    return folder


def test_group_as_text(files):
    """The whole page, so that a change of its look is a decision."""
    shown = run_r1("show", "--groups", files / "a.jsonl", check=0).stdout.decode()
    assert shown == (
        "── q · 2 samples ──\n"
        "rewards 1 x1, 0 x1  mean 0.5, sd 0.5\n"
        "Q 1 + 1\n"
        "expected: 2\n"
        "\n"
        "best: sample 1                         │ worst: sample 2\n"
        "reward 1  accuracy 1                   │ reward 0  accuracy 0\n"
        "                                       │\n"
        "<think>hm</think>                      │ <think>hm</think>\n"
        "<answer>2</answer>                     │ <answer>3</answer>\n"
        "\n"
    )


def test_difference_as_text(files):
    shown = run_r1("show", "--diff", "a.jsonl", "b.jsonl", cwd=files, check=0).stdout.decode()
    assert shown == (
        "── q · sample 2 of 2 ──\n"
        "Q 1 + 1\n"
        "expected: 2\n"
        "a.jsonl  reward 0  accuracy 0\n"
        "b.jsonl  reward 1  accuracy 1\n"
        "\n"
        "<think>hm</think>\n"
        "<answer>3</answer>\n"
        "\n"
        "a.jsonl → b.jsonl: 1 the same, 1 differ (1 with a higher reward, 0 with a lower)\n"
        "\n"
    )


def test_tokens_of_a_real_policy(tmp_path):
    """The tokenizer is found by the policy's path; where it is not, --tokenizer names it."""
    from tokenizers import Tokenizer

    run = tmp_path / "run"
    run_r1("init", run, "--from", "tiny", check=0)
    answer = "<think>Ann 4, Bob 1 makes 5</think><answer>5</answer>"
    ids = Tokenizer.from_file(str(run / "latest" / "tokenizer.json")).encode(answer).ids
    rollout = sample(0, 1, 5) | {"completion": answer, "completion_ids": ids, "policy": {"path": str(run)}}
    rollout["logprobs"] = [0.0] * (len(ids) - 2) + [-3.0, 0.0]
    shown = run_r1("show", "--tokens", stdin=lines(rollout), check=0).stdout.decode()
    assert shown.startswith("tokens to which the sampler gave less than [.5], [[.1]], [[[.01]]]\n\n")
    assert "\n<think>Ann 4, Bob 1 makes 5</think>\n<answer>[[5]]</answer>\n" in shown
    rollout["policy"]["path"] = "/gone"
    failed = run_r1("show", "--tokens", stdin=lines(rollout))
    assert failed.returncode == 2 and failed.stderr.startswith(
        b"r1 show: --tokens needs the tokenizer: no checkpoint /gone"
    )
    again = run_r1("show", "--tokens", "--tokenizer", "tiny", stdin=lines(rollout), check=0).stdout.decode()
    assert again == shown


def test_html_is_one_file(files, tmp_path):
    """Published by a rename; every way of showing whole records has it."""
    for way in ([], ["--groups"], ["--diff", files / "b.jsonl"]):
        page = tmp_path / "page.html"
        done = run_r1("show", *way, files / "a.jsonl", "--html", page, check=0)
        assert done.stdout == b"" and [file.name for file in tmp_path.iterdir()] == ["page.html"]
        text = page.read_text()
        assert text.startswith("<!doctype html>") and text.endswith("</body></html>\n")
        assert "&lt;answer&gt;3&lt;/answer&gt;" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--groups", "--diff", "a", "b"], "--groups and --diff are different pages; name one of them"),
        (["-f", "id", "--html", "x.html"], "--field makes a table, which has no --html"),
        (["-f", "id", "--tokens"], "--field makes a table, which has no --tokens"),
        (["--diff", "a.jsonl"], "--diff compares two files, without --tokens: r1 show --diff A B"),
        (["--diff", "a.jsonl", "a.jsonl"], "--diff: a.jsonl is compared with itself; name two files"),
        (["--tokenizer", "tiny", "a.jsonl"], "--tokenizer is for --tokens, which was not asked for"),
    ],
)
def test_errors(files, arguments, message):
    done = run_r1("show", *arguments, cwd=files)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", f"r1 show: {message}\n")


def test_a_field_that_no_record_has_is_named(files):
    """A column of dashes alone would look like an answer; what has it is shown as ever, and it is no failure."""
    done = run_r1("show", "-f", "id", "-f", "rewrad", "a.jsonl", cwd=files, check=0)
    assert done.stdout == b"id  rewrad\nq   -\nq   -\n"
    assert done.stderr == b"r1 show: warning: of 2 records none has a field rewrad; did you mean reward?\n"


def test_pager_shows_what_a_terminal_would(files, tmp_path):
    """With its colours, through the shell as git does; one that ends early ends the program well."""
    command = f"cat > {tmp_path / 'seen'}; echo paged"
    seen, code = Terminal("show", files / "a.jsonl", env={"PAGER": command}).end()
    direct, _ = Terminal("show", files / "a.jsonl").end()
    assert (seen, code) == ("paged\n", 0)
    assert (tmp_path / "seen").read_text() == direct and "\x1b[32mreward 1\x1b[0m" in direct
    many = tmp_path / "many.jsonl"
    many.write_bytes(lines(sample(0, 1, 2)) * 5000)
    assert Terminal("show", many, env={"PAGER": "head -n 1"}).end() == ("\x1b[1m── q · sample 1 of 2 ──\x1b[0m\n", 0)
    assert "id" in Terminal("show", many, "-f", "id", env={"PAGER": "head -n 1"}).end()[0]


@pytest.mark.parametrize("env", [{"PAGER": ""}, {"PAGER": "no-such-program"}, {"PAGER": "false", "TERM": "dumb"}])
def test_no_pager(files, env):
    """Where there is none, and on a terminal that it could not draw on."""
    seen, code = Terminal("show", files / "a.jsonl", env=env).end()
    assert code == 0 and plain(seen) == run_r1("show", files / "a.jsonl", check=0).stdout.decode()


def test_interruption_leaves_the_pager_to_its_reader(tmp_path):
    """Ctrl-C ends the reading of an endless stream; what was read can still be read, and the program dies by it."""
    terminal = Terminal("show", env={"PAGER": f"cat > {tmp_path / 'seen'}; echo the end"}, stdin=subprocess.PIPE)
    terminal.process.stdin.write(lines(sample(0, 1, 2)))
    terminal.process.stdin.flush()
    deadline = time.monotonic() + 60
    while not ((tmp_path / "seen").exists() and "expected" in (tmp_path / "seen").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == ("the end\n", -signal.SIGINT)


def test_pages_come_as_records_do():
    """The first page of a stream is there while the stream goes on: a million lines open at once."""
    process = subprocess.Popen([*R1, "show"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT)
    process.stdin.write(lines(sample(0, 1, 2)))
    process.stdin.flush()
    assert process.stdout.readline().decode() == "── q · sample 1 of 2 ──\n"
    process.stdin.close()
    assert b"expected: 2" in process.stdout.read() and process.wait(timeout=60) == 0


def test_standard_output_alone_decides(files):
    """A file gets neither colours nor folded lines, whatever standard error is."""
    terminal = Terminal("show", files / "a.jsonl", stdout=subprocess.PIPE)
    out = terminal.process.stdout.read()
    assert terminal.end() == ("", 0)
    assert out == run_r1("show", files / "a.jsonl", check=0).stdout


def test_long_lines_are_folded_on_a_terminal_only(tmp_path):
    """At words, to its 80 columns; a pipe gets lines as they are, for grep."""
    file = tmp_path / "long.jsonl"
    file.write_bytes(lines(sample(0, 1, 2) | {"completion": "word " * 100}))
    seen, _ = Terminal("show", file).end()
    assert max(map(len, plain(seen).splitlines())) <= 80 and "wor\n" not in seen
    assert b"word " * 99 in run_r1("show", file, check=0).stdout


def test_without_utf8_everything_is_ascii(tmp_path):
    """Our own rules and the model's letters; nothing is lost, and nothing stops."""
    file = tmp_path / "chinese.jsonl"
    file.write_bytes(lines(sample(0, 1, "九")))
    seen, code = Terminal("show", "--groups", file, env={"LC_ALL": "C"}).end()
    assert code == 0 and seen.isascii() and plain(seen).startswith("-- q - 1 of 2 samples --\n")
    table, _ = Terminal("show", "-f", "completion", "-f", "reward", file, env={"LC_ALL": "C"}).end()
    head, row = table.splitlines()
    assert row == "<think>hm</think><answer>\\u4e5d</answer>       1" and head.endswith("  reward")
    file.write_bytes(lines(sample(0, 1, "九"), sample(1, 0, "3")))
    seen, _ = Terminal("show", "--groups", file, env={"LC_ALL": "C"}).end()
    assert "<answer>\\u4e5d</answer>                | <answer>3</answer>\n" in seen
