"""r1 eval by presets, on a URL, over several tasks, and after a kill: the real program."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest
from conftest import ENVIRONMENT, R1, shell
from remote_server import FakeServer, chat

GSM8K = [
    {"question": "One and two?", "answer": "1 + 2 = <<1+2=3>>3\n#### 3"},
    {"question": "A thousand and five?", "answer": "so\n#### 1,005"},
]


def lines(records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def summaries(done):
    return {record["task"]: record for record in map(json.loads, done.stdout.splitlines())}


def boxed(answer):
    return chat(f"<think>t</think>\\boxed{{{answer}}}", usage={"prompt_tokens": 3, "completion_tokens": 7})


def questions(count, answer="1"):
    return [{"id": f"q{i}", "prompt": f"What is {i}?", "answer": answer, "task": "math"} for i in range(count)]


@pytest.fixture
def gsm8k(tmp_path):
    """Two rows in the published shape of GSM8K, as Parquet."""
    import pyarrow
    import pyarrow.parquet

    file = tmp_path / "gsm8k.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(GSM8K), file)
    return file


def test_a_preset_on_a_url(r1, gsm8k):
    """The set's fields, R1's temperature and top-p and the set's k reach the server; estimates follow its answers."""

    def answer(request):
        right = "3" if "One" in request.question else ("1005" if request.body["seed"] % 2 else "1")
        return boxed(right)

    with FakeServer(answer) as server:
        done = r1("eval", server.url, gsm8k, "--preset", "gsm8k", "--pass-at", "1,2", check=0)
    assert len(server.requests) == 8
    body = server.requests[0].body
    assert (body["temperature"], body["top_p"], body["model"]) == (0.6, 0.95, "fake")
    assert "\\boxed{}" in server.requests[0].question
    right = sum("A thousand" in one.question and one.body["seed"] % 2 for one in server.requests)
    (summary,) = summaries(done).values()
    assert (summary["task"], summary["items"], summary["k"], summary["samples"]) == ("math", 2, 4, 8)
    assert summary["pass@1"] == pytest.approx((1 + right / 4) / 2)
    assert {"pass@2", "pass@4", "cons@4", "ci95", "stderr", "stderr_samples"} <= summary.keys()
    assert (summary["tokens"], summary["temperature"], summary["top_p"], summary["seed"]) == (7, 0.6, 0.95, 0)
    assert (summary["no_answer"], summary["truncated"], summary["timeout"]) == (0, 0, 0)
    assert summary["grader"].endswith(" lenient") and len(summary["prompts"]) == 16
    assert b"gsm8k: 2 questions x 4 samples, temperature 0.6, top-p 0.95" in done.stderr


def test_prompts_of_a_preset_through_a_pipe(gsm8k):
    """r1 prompts --preset piped into r1 eval gives the numbers that the preset gives by itself."""
    with FakeServer(lambda request: boxed(request.body["seed"] % 4)) as server:
        done = shell(
            f"r1 prompts gsm8k.parquet --preset gsm8k | r1 eval {server.url} - -k 4 > piped\n"
            f"r1 eval {server.url} gsm8k.parquet --preset gsm8k > named",
            cwd=gsm8k.parent,
        )
    assert done.returncode == 0, done.stderr
    assert (gsm8k.parent / "piped").read_text() == (gsm8k.parent / "named").read_text()


def test_a_preset_on_a_model_with_a_short_context(r1, gsm8k):
    """The protocol's 32,768 tokens don't fit into the tiny model: that is said."""
    done = r1("eval", "tiny", gsm8k, "--preset", "gsm8k", "-k", "2", check=0)
    assert b"samples end with the model's context of 512 tokens, before the 32768 that are allowed" in done.stderr
    (summary,) = summaries(done).values()
    assert (summary["k"], summary["temperature"], summary["max_tokens"]) == (2, 0.6, 32768)


def test_unknown_presets_and_lists(r1, gsm8k):
    """One line that says what there is."""
    done = r1("eval", "tiny", gsm8k, "--preset", "gsm9k")
    assert done.returncode == 2 and b"gsm9k" in done.stderr and b"gsm8k" in done.stderr
    for words in (["--pass-at", "0"], ["--cons-at", "1,x"], ["--pass-at", "8", "-k", "4"], ["--cons-at", "17"]):
        done = r1("eval", "tiny", *words)
        assert done.returncode == 2 and done.stderr.count(b"\n") == 1, words
        assert words[0].encode() in done.stderr


def test_each_task_by_its_own_reward(r1, tmp_path):
    """Mathematics by accuracy, choices by choice, each with a summary of its own and no reward of the other's."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_bytes(
        lines(
            [
                *questions(2),
                {"id": "c", "prompt": "Which?", "answer": "B", "task": "choice", "choices": ["x", "y"]},
                {"id": "n", "prompt": "Numbers?", "answer": 6, "task": "countdown", "numbers": [1, 2, 3], "target": 6},
            ]
        )
    )

    def answer(request):
        known = {"Which?": "Answer: B", "Numbers?": "<think>t</think><answer>1 + 2 + 3</answer>"}
        return chat(known.get(request.question, "\\boxed{1}"))

    items = tmp_path / "items.jsonl"
    with FakeServer(answer) as server:
        found = summaries(r1("eval", server.url, prompts, "-k", "2", "--items", items, check=0))
    assert {task: one["pass@1"] for task, one in found.items()} == {"math": 1.0, "choice": 1.0, "countdown": 1.0}
    judged = {record["id"]: set(record["rewards"]) for record in map(json.loads, items.read_bytes().splitlines())}
    assert judged["c"] == {"choice", "format"} and judged["q0"] == judged["n"] == {"accuracy", "format"}
    again = r1("eval", "-", stdin=items.read_bytes(), check=0)
    assert {task: one["pass@1"] for task, one in summaries(again).items()} == {
        "math": 1.0, "choice": 1.0, "countdown": 1.0,
    }  # fmt: skip


def test_programs_are_run(r1, tmp_path):
    """Code is judged by its tests in the sandbox, in the same evaluation as mathematics; it has no cons@k."""
    prompts = tmp_path / "prompts.jsonl"
    tests = [{"input": "1 2\n", "output": "3\n"}, {"input": "5 -7\n", "output": "-2\n"}]
    prompts.write_bytes(
        lines([{"id": "c", "prompt": "Add.", "tests": tests, "task": "code", "time_limit": 1}, *questions(1)])
    )
    programs = ["print(sum(map(int, input().split())))", "print(3)", None, "while True: pass"]
    calls = iter(programs)

    def answer(request):
        if request.question != "Add.":
            return boxed(1)
        program = next(calls)
        return chat(f"```python\n{program}\n```" if program else "I can't.")

    with FakeServer(answer) as server:
        ask = ("eval", server.url, prompts, "-k", "4", "--concurrency", "1")
        found = summaries(r1(*ask, check=0))
    assert found["math"]["cons@4"] == 1.0
    code = found["code"]
    assert code["pass@1"] == 0.25 and code["pass@4"] == 1.0 and "cons@4" not in code
    assert code["no_answer"] == code["timeout"] == 0.25


def test_an_evaluation_that_was_killed_goes_on(r1, tmp_path):
    """kill -9 in the middle: what was judged is kept, nothing is asked twice, and the result is that of one run."""
    prompts, items, whole = (tmp_path / name for name in ("prompts.jsonl", "items.jsonl", "whole.jsonl"))
    prompts.write_bytes(lines(questions(12)))
    gate = threading.Event()

    def answer(request):
        if int(request.question[8:-1]) >= 4:
            gate.wait(30)
        return boxed(1 if request.body["seed"] % 3 else 2)

    with FakeServer(answer) as server:
        ask = ["eval", server.url, str(prompts), "-k", "3", "--concurrency", "4", "--items"]
        process = subprocess.Popen([*R1, *ask, str(items)], stdout=subprocess.PIPE, env=ENVIRONMENT)
        deadline = time.monotonic() + 30
        while not items.exists() or items.read_bytes().count(b"\n") < 12:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        gate.set()
        with items.open("ab") as file:
            file.write(b'{"id":"q4","torn')
        before = len(server.requests)
        resumed = r1(*ask, items, check=0)
        assert len(server.requests) - before == 24
        assert json.loads(resumed.stdout) == json.loads(r1(*ask, whole, check=0).stdout)
        # Another model, another server and another grader are not mixed in.
        done = r1(*ask, items, "--model", "other")
        assert done.returncode == 2 and b"policy.model" in done.stderr
        done = r1(*ask, items, "--strict")
        assert done.returncode == 2 and b"judged by grader" in done.stderr
    with FakeServer(answer) as other:
        done = r1("eval", other.url, prompts, "-k", "3", "--items", items)
        assert done.returncode == 2 and b"policy.url" in done.stderr
        assert not other.requests
    assert len(items.read_bytes().splitlines()) == 36


def test_judging_goes_on_while_sampling_does(tmp_path):
    """The first question's samples are judged and on the disk before the server has answered the last."""
    prompts, items = tmp_path / "prompts.jsonl", tmp_path / "items.jsonl"
    prompts.write_bytes(lines(questions(3)))
    gate = threading.Event()

    def answer(request):
        if request.question == "What is 2?":
            gate.wait(30)
        return boxed(1)

    with FakeServer(answer) as server:
        command = [*R1, "eval", server.url, prompts, "-k", "2", "--items", items]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
        deadline = time.monotonic() + 30
        while not items.exists() or items.read_bytes().count(b"\n") < 4:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        gate.set()
        assert json.loads(process.communicate(timeout=30)[0])["pass@1"] == 1.0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--compare", "a"], "two files"),
        (["--compare", "a", "a"], "both are the same file, a"),
        (["--compare", "a", "b", "-k", "4"], "--samples"),
        (["--compare", "a", "b", "--pass-at", "2"], "--pass-at"),
        (["-", "--common"], "--common"),
        (["-", "--seed", "1"], "--seed"),
        (["tiny", "--model", "x", "--questions", "1"], "--model"),
    ],
)
def test_options_that_could_do_nothing(r1, words, complaint):
    """Each is one line and exit code 2."""
    done = r1("eval", *words)
    assert done.returncode == 2 and complaint in done.stderr.decode() and done.stderr.count(b"\n") == 1
