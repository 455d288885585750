"""r1 sft as a stage of a pipe: what it makes, what it says, what it refuses."""

import json
import os
import re

import pytest
from batches import refused, standing
from conftest import run_r1, shell
from test_terminal import on_terminal

NAMES = ("Ann", "Bob", "Cat", "Dan")
EXAMPLE = {
    "prompt": "Ann 1, Bob 2, Cat 3. Total?",
    "completion": "<think>Ann 1, Bob 2 makes 3</think><answer>6</answer>",
}


def lines(*records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def examples(count):
    return lines(*({**EXAMPLE, "prompt": f"Ann {n % 10}, Bob {n // 10}, Cat 3. Total?"} for n in range(count)))


def test_rejection_sampling_teaches_the_base(tmp_path):
    """Nothing but the base's own right answers, in one pipe: from a quarter right to .95 and more, held out."""
    done = shell(
        "r1 prompts sum --limit 600 --seed 5 | r1 sample tiny - --group 8 --temperature 1 |"
        " r1 reward -q --format --accuracy | r1 filter -q --min-reward 2 --finish-reason stop --best-of shortest |"
        " r1 sft tiny - --out taught > metrics.jsonl && r1 eval taught",
        cwd=tmp_path,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["pass@1"] >= 0.95 and found["format"] >= 0.99
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in metrics] == list(range(1, len(metrics) + 1))
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    said = done.stderr.splitlines()
    assert any(
        re.match(r"r1 sft: step \d+: update (\d+) of \1, loss [\d.]+ -> [\d.]+, [\d,]+ of [\d,]+ tokens", s)
        for s in said
    )


def test_out_makes_the_run_that_init_makes(tmp_path):
    """From a plain model, or from a run with what that has; the same command again goes on with it."""
    done = run_r1("sft", "tiny", "--out", tmp_path / "one", "--epochs", "1", stdin=examples(4), check=0)
    run_r1("init", tmp_path / "other", check=0)
    one, other = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("one", "other"))
    for config in (one, other):
        config.pop("run"), config.pop("created")
    assert one == other
    assert len(done.stdout.splitlines()) == 1 and os.readlink(tmp_path / "one" / "latest") == "step-000001"
    again = run_r1("sft", "tiny", "--out", tmp_path / "one", "--epochs", "1", stdin=examples(4), check=0)
    assert again.stdout == done.stdout and b"nothing is left to do" in again.stderr
    # A run as the base: its weights and its template; other bases are refused.
    mine = tmp_path / "mine.txt"
    mine.write_text("Q: {prompt} A:")
    command = ("sft", tmp_path / "one", "--out", tmp_path / "two", "--template", mine, "--epochs", "1")
    run_r1(*command, stdin=examples(4), check=0)
    two = json.loads((tmp_path / "two" / "run.json").read_text())
    assert two["template"] == "Q: {prompt} A:" and two["base"]["step"] == "step-000001"
    done = run_r1("sft", "tiny", "--out", tmp_path / "two", stdin=examples(4))
    refused(done, "two exists and was made from", "step-000001, not from", "r1 sft ")
    done = run_r1("sft", tmp_path / "one", "--template", "raw", stdin=examples(4))
    refused(done, "puts prompts into another template than raw", "what is trained must be what is sampled")
    run_r1("sft", tmp_path / "one", "--template", "r1-zero", "--epochs", "1", stdin=examples(5), check=0)


BAD = {
    "no completion": ({"prompt": "a"}, 'missing "completion" (found prompt)'),
    "completion of another type": ({"prompt": "a", "completion": 3}, '"completion" must be a string, found 3'),
    "empty completion": ({"prompt": "a", "completion": " "}, '"completion" is empty'),
    "no prompt": ({"completion": "b"}, 'missing "prompt" (found completion)'),
    "prompt of another name": (
        {"question": "a", "completion": "b"},
        'missing "prompt" (found question); r1 prompts FILE makes prompts of other fields',
    ),
    "empty prompt": ({"prompt": " ", "completion": "b"}, '"prompt" is empty'),
    "messages without an assistant": ({"messages": [{"role": "user", "content": "a"}]}, "no assistant turn"),
    "messages that end with a question": (
        {"messages": [{"role": r, "content": "a"} for r in ("user", "assistant", "user")]},
        "must end with an assistant turn, found user",
    ),
    "unknown role": ({"messages": [{"role": "robot", "content": "a"}], "completion": "b"}, 'has the role "robot"'),
    "several turns without a chat template": (
        {"messages": [{"role": r, "content": "a"} for r in ("user", "assistant", "user", "assistant")]},
        "a conversation of 3 messages needs --template chat",
    ),
    "too long": ({"prompt": "a", "completion": "1" * 600}, "tokens, the model's context is 512"),
    "ids of another tokenizer": ({**EXAMPLE, "completion_ids": [3, 4, 900]}, "900 is no token of it", "--retokenize"),
    "text that was changed": ({**EXAMPLE, "completion_ids": [3, 4]}, "they decode to another text", "--retokenize"),
    "ids that are none": ({**EXAMPLE, "completion_ids": ["a"]}, '"completion_ids" must be a list of integers'),
    "no object": ([1], "expected one JSON object per line, found list; a JSON array becomes prompts by r1 prompts"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(served, tmp_path, name):
    """One line with file, line number and field; nothing is trained, and nothing comes on stdout."""
    record, *words = BAD[name]
    (tmp_path / "x.jsonl").write_bytes(lines(EXAMPLE, record))
    before = standing(served)
    refused(run_r1("sft", served, "x.jsonl", cwd=tmp_path), "r1 sft: x.jsonl:2: ", *words)
    assert standing(served) == before


def test_bad_input_is_refused_before_anything_is_made(tmp_path):
    """No run, and no part of one."""
    (tmp_path / "x.jsonl").write_bytes(lines(EXAMPLE, BAD["ids of another tokenizer"][0]))
    refused(run_r1("sft", "tiny", "x.jsonl", "--out", "new", cwd=tmp_path), "r1 sft: x.jsonl:2: ")
    assert sorted(os.listdir(tmp_path)) == ["x.jsonl"]


def test_skip_bad_counts_and_goes_on(served, tmp_path):
    """All of them bad is an error, some of them a count; the same from a resident backend, which changes nothing."""
    bad = [record for record, *_ in BAD.values()]
    (tmp_path / "x.jsonl").write_bytes(lines(EXAMPLE, *bad, EXAMPLE))
    (tmp_path / "bad.jsonl").write_bytes(lines(*bad))
    before = standing(served)
    for command in (("tiny", "--out", tmp_path / "none"), (served,)):
        done = run_r1("sft", *command, "--skip-bad", tmp_path / "bad.jsonl")
        refused(done, f"no examples: {len(BAD)} bad (the first: {tmp_path}/bad.jsonl:1: missing")
        done = run_r1("sft", *command, tmp_path / "x.jsonl")
        refused(done, f"r1 sft: {tmp_path}/x.jsonl:2: ")
    assert standing(served) == before and not (tmp_path / "none").exists()
    one = run_r1("sft", "tiny", "--out", tmp_path / "one", "--skip-bad", "--epochs", "1", tmp_path / "x.jsonl", check=0)
    two = run_r1("sft", served, "--skip-bad", "--epochs", "1", tmp_path / "x.jsonl", check=0)
    for done in (one, two):
        assert f"warning: skipped {len(BAD)} bad lines; the first: ".encode() in done.stderr
        assert json.loads(done.stdout)["samples"] == 2
    assert json.loads(one.stdout)["loss"] == json.loads(two.stdout)["loss"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("tiny",), "is a plain model folder, which is never written to; name a run with --out"),
        (("http://localhost:1/v1",), "is a server: its model can be sampled, not trained"),
        (("nowhere",), "no checkpoint nowhere"),
        (("tiny", "--batch", "2", "--batch-tokens", "3"), "--batch and --batch-tokens exclude each other"),
        (("tiny", "--warmup-steps", "2", "--warmup-ratio", "0.1"), "exclude each other"),
        (("tiny", "--lr", "-1"), "lr is -1.0; it must be 0 or more"),
        (("tiny", "--epochs", "1.5"), "'1.5' is not a valid int"),
        (("tiny", "--out", "x", "--patience", "1"), "--patience needs examples to validate on"),
        (("tiny", "--out", "x", "--validation", "gone.jsonl"), "cannot read gone.jsonl"),
        (("tiny", "--out", "x", "--template", "chat"), "the checkpoint has no chat template"),
        (("tiny", "--out", "x", "--max-length", "5"), "no examples: 3 longer than --max-length"),
    ],
)
def test_usage_that_makes_no_sense(tmp_path, command, words):
    refused(run_r1("sft", *command, stdin=examples(3), cwd=tmp_path), words)
    assert os.listdir(tmp_path) == []


def test_progress_on_a_terminal(tmp_path):
    """Reading, loading, then updates with speed and time left, on one line that erases itself; records elsewhere."""
    command = ["sft", "tiny", "-", "--out", tmp_path / "run", "--batch", "4"]
    code, seen, out = on_terminal(command, streams={"stderr"}, stdin=examples(40))
    assert code == 0 and len(out.splitlines()) == 40
    assert re.search(
        r"\r\x1b\[Kr1 sft: update \d+ of 40, epoch \d\.\d\d, loss \d+\.\d{4}, [\d,]+ tokens/s, \d+ s left", seen
    )
    assert seen.index("r1 sft: read ") < seen.index("r1 sft: loading the model") < seen.index("r1 sft: update ")
    assert seen.count("\n") == 1 and "\r\x1b[Kr1 sft: step 40: " in seen[-120:]


def test_validation_through_the_program(served, tmp_path):
    """A file beside the examples, also through a resident backend, and the two values in the last line."""
    (tmp_path / "held.jsonl").write_bytes(examples(60)[-300:].partition(b"\n")[2])
    command = ("--validation", tmp_path / "held.jsonl", "--batch", "20", "--epochs", "2", "--lr", "1e-3")
    one = run_r1("sft", "tiny", "--out", tmp_path / "one", *command, stdin=examples(40), check=0)
    records = [json.loads(line) for line in one.stdout.splitlines()]
    assert [record["validation_loss"] is not None for record in records] == [False, True, False, True]
    assert b"validation " in one.stderr
    two = run_r1("sft", served, *command, stdin=examples(40), check=0)
    assert len(two.stdout.splitlines()) == 4 and b"validation " in two.stderr
    bad = run_r1("sft", served, "--validation", tmp_path / "gone", stdin=examples(4))
    refused(bad, "cannot read")
    (tmp_path / "bad.jsonl").write_bytes(lines(EXAMPLE, {"prompt": "x"}))
    refused(run_r1("sft", served, "--validation", tmp_path / "bad.jsonl", stdin=examples(4)), "bad.jsonl:2: missing")
