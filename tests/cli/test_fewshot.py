"""`r1 sample --few-shot --prefill`: worked examples and begun answers, through the real program."""

import json

import pytest
from conftest import run_r1
from remote_server import FakeServer, chat, text

from r1cli.backend.tokenizer import Tokenizer
from r1cli.prompts.templates import R1_ZERO
from r1cli.runs import locate

SHOT = {"prompt": "1 + 1", "completion": "<think> 2 </think> <answer> 2 </answer>"}
QUESTION = b'{"id":"q","prompt":"3 + 4","answer":"7"}\n'


@pytest.fixture
def shots(tmp_path):
    """A file with one worked example."""
    file = tmp_path / "shots.jsonl"
    file.write_text(json.dumps({**SHOT, "id": "ours"}) + "\n")
    return file


def sampled(checkpoint, *options):
    done = run_r1("sample", checkpoint, "-", "--group", "2", "--max-tokens", "8", *options, stdin=QUESTION, check=0)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_model_sees_the_examples_and_the_record_says_so(shots):
    """The ids that the policy continued, decoded: examples and question in one template, and the answer's beginning."""
    rollouts = sampled("tiny", "--few-shot", shots, "--prefill", " <think>", "--template", "raw")
    tokenizer = Tokenizer.load(locate("tiny")[0])
    expected = f"1 + 1 {SHOT['completion']}\n\n3 + 4 <think>"
    assert rollouts[0]["prompt_ids"] == tokenizer.encode(expected, True)
    assert rollouts[0]["prompt"] == "3 + 4" and rollouts[0]["sampling"]["prefill"] == " <think>"
    assert rollouts[0]["sampling"]["few_shot"]["examples"] == 1
    plain = sampled("tiny", "--template", "raw")
    assert "few_shot" not in plain[0]["sampling"] and plain[0]["batch"]["id"] != rollouts[0]["batch"]["id"]


def test_a_begun_thought_is_judged_as_one(tmp_path):
    """With the thought opened beforehand the format reward reads the completion as its continuation."""
    record = {"id": "q", "prompt": "3 + 4", "completion": "7 </think> <answer> 7 </answer>", "answer": "7"}
    for prefill, reward in (("<think> so", 1.0), ("<think> </think>", 0.0)):
        line = json.dumps({**record, "sampling": {"prefill": prefill}}).encode()
        (judged,) = map(json.loads, run_r1("reward", "--format", stdin=line, check=0).stdout.splitlines())
        assert judged["reward"] == reward, prefill


def test_a_server_gets_the_examples_as_turns_or_as_text(shots):
    """By its own chat template as earlier turns; in a template of ours as text that begins the answer."""
    with FakeServer(lambda asked: chat("7")) as server:
        sampled(server.url, "--few-shot", shots)
        turns = [(m["role"], m["content"]) for m in server.requests[-1].body["messages"]]
    assert turns == [("user", "1 + 1"), ("assistant", SHOT["completion"]), ("user", "3 + 4")]
    with FakeServer(lambda asked: text("7")) as server:
        rollouts = sampled(server.url, "--few-shot", shots, "--template", "r1-zero", "--prefill", " <think>")
        first, second = R1_ZERO.replace("{prompt}", "1 + 1"), R1_ZERO.replace("{prompt}", "3 + 4")
        asked = server.requests[-1].body["prompt"]
        assert asked == f"{first} {SHOT['completion']}\n\n{second} <think>"
        assert rollouts[0]["sampling"]["prefill"] == " <think>"
        refused = run_r1("sample", server.url, "-", "--prefill", "x", stdin=QUESTION)
        assert refused.returncode == 2 and b"--template" in refused.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [('{"prompt":"a"}', b'"completion" of a worked example'), ("", b"no examples"), ('{"prompt":1}', b'"prompt" of')],
)
def test_bad_examples_are_named(tmp_path, content, words):
    """One line with the file, nothing sampled."""
    file = tmp_path / "bad.jsonl"
    file.write_text(content and content + "\n")
    done = run_r1("sample", "tiny", "-", "--few-shot", file, stdin=QUESTION)
    assert done.returncode == 2 and words in done.stderr and b"bad.jsonl" in done.stderr and done.stdout == b""
