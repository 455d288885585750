"""What belongs to the user comes through and stays: keys, files, folders, and samples that were judged before."""

import json
import os

import pytest
from conftest import run_r1

from r1cli import creation
from r1cli.runs import Run, locate


def lines(*records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_sample_keeps_the_users_bytes(served):
    """Integers that no float holds, spellings of numbers and escapes leave r1 sample as they came."""
    line = b'{"prompt": "Ann 1, Bob 2. Total?", "answer":"3", "x":12345678901234567890123, "y":1e3, "z":"\\u00e9"}\n'
    out = run_r1("sample", served, "-", "--group", "1", stdin=line, check=0).stdout
    assert line.strip()[1:-1] in out


def test_a_thought_that_the_template_opened_counts(served, tmp_path):
    """A template that ends in <think> leaves the tag to the completion's reader: the format reward must know."""
    template = tmp_path / "open.txt"
    template.write_text("User: {prompt} Assistant:<think>")
    out = run_r1("sample", served, "--template", template, "--questions", "1", "--group", "1", check=0).stdout
    record = json.loads(out)
    assert record["sampling"]["prefill"] == "<think>"
    record |= {"completion": "a thought</think><answer>1</answer>", "finish": "stop"}
    judged = json.loads(run_r1("reward", "--format", stdin=lines(record), check=0).stdout)
    assert judged["rewards"]["format"] == 1
    shown = run_r1("show", stdin=lines(record), check=0).stdout.decode()
    assert "<think>a thought</think>" in shown


def test_items_of_another_evaluation_are_never_touched(served, tmp_path):
    """Another number of samples, another question under the same id, a prompts file by mistake: refused, kept."""
    prompts, items = tmp_path / "prompts.jsonl", tmp_path / "items.jsonl"
    prompts.write_bytes(lines({"id": "1", "prompt": "Ann 1, Bob 2. Total?", "answer": "3"}))
    run_r1("eval", served, prompts, "-k", "2", "--items", items, check=0)
    before = items.read_bytes()
    assert len(before.splitlines()) == 2
    assert b"use -k 2" in run_r1("eval", served, prompts, "-k", "1", "--items", items, check=2).stderr
    prompts.write_bytes(lines({"id": "1", "prompt": "Ann 9, Bob 9. Total?", "answer": "18"}))
    assert b'not the "prompt"' in run_r1("eval", served, prompts, "-k", "2", "--items", items, check=2).stderr
    assert items.read_bytes() == before
    asked = prompts.read_bytes()
    assert b"a file of its own" in run_r1("eval", served, prompts, "-k", "2", "--items", prompts, check=2).stderr
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(asked)
    assert b"not a judged sample" in run_r1("eval", served, prompts, "-k", "2", "--items", copy, check=2).stderr
    assert prompts.read_bytes() == copy.read_bytes() == asked
    # Questions that are not asked now stay in the file, and out of the score.
    prompts.write_bytes(lines({"id": "2", "prompt": "Ann 1, Bob 1. Total?", "answer": "2"}))
    summary = json.loads(run_r1("eval", served, prompts, "-k", "2", "--items", items, check=0).stdout)
    assert summary["items"] == 1
    assert items.read_bytes().startswith(before) and len(items.read_bytes().splitlines()) == 4


def test_the_other_half_of_a_batch_is_no_retry(run):
    """Two parts of one batch are two things: the second must not be answered with the first one's metrics."""
    rollouts = run_r1("sample", run, "--questions", "2", "--group", "4", check=0).stdout
    rewarded = run_r1("reward", "--accuracy", stdin=rollouts, check=0).stdout.splitlines(keepends=True)
    half = b"".join(rewarded[:4])
    run_r1("grpo-step", "--allow-partial", stdin=half, check=0)
    rest = b"".join(rewarded[4:])
    done = run_r1("grpo-step", "--allow-partial", "--max-staleness", "1", stdin=rest)
    assert done.returncode == 2 and b"with other rollouts" in done.stderr
    again = run_r1("grpo-step", "--allow-partial", stdin=half, check=0)
    assert b"applied already" in again.stderr and json.loads(again.stdout)["step"] == 1


def test_a_run_made_from_a_run_survives_its_pruning(tmp_path, monkeypatch):
    """Large weights are not copied, yet a pruned step must not take another run's base along."""
    monkeypatch.setattr(creation, "SMALL", 1000)
    first = creation.create_run(tmp_path / "first", locate("tiny")[0], "tiny", {"source": None}, None)
    assert (first.path / "step-000000" / "model.safetensors").is_symlink()
    step = first.path / "step-000001"
    step.mkdir()
    for file in first.latest().iterdir():
        (step / file.name).write_bytes(file.read_bytes())
    second = creation.create_run(tmp_path / "second", step, "first", {"source": None}, first)
    weights = second.latest() / "model.safetensors"
    assert not weights.is_symlink() and os.stat(weights).st_nlink == 2
    kept = weights.read_bytes()
    for file in step.iterdir():
        file.unlink()
    assert weights.read_bytes() == kept
    assert second.config["base"]["run"] == first.id


def test_a_run_made_from_a_run_takes_over_its_task_and_settings(run, tmp_path):
    run_r1("init", tmp_path / "second", "--from", run, check=0)
    first, second = Run.open(run).config, Run.open(tmp_path / "second").config
    assert {key: second[key] for key in ("source", "template", "defaults")} == {
        key: first[key] for key in ("source", "template", "defaults")
    }
    assert first["run"] != second["run"]


def test_a_folder_of_the_users_beside_the_new_one_stays(run, tmp_path):
    """init and export work beside their target; nobody's NAME.part is theirs to remove."""
    for name in ("new", "model"):
        (tmp_path / f"{name}.part").mkdir()
        (tmp_path / f"{name}.part" / "mine").write_text("kept")
    run_r1("init", tmp_path / "new", check=0)
    run_r1("export", run, tmp_path / "model", check=0)
    for name in ("new", "model"):
        assert (tmp_path / f"{name}.part" / "mine").read_text() == "kept"
    assert (tmp_path / "model" / "model.safetensors").stat().st_mode & 0o044 == 0o044


@pytest.mark.parametrize("content", [None, 7, [{"type": "text", "text": "hi"}]])
def test_messages_without_text_are_refused(served, content):
    """Trained on as text, a list of parts would be Python's spelling of it."""
    done = run_r1("sample", served, "-", stdin=lines({"messages": [{"role": "user", "content": content}]}))
    assert done.returncode == 2 and b'stdin:1: "messages"' in done.stderr


def test_null_messages_are_none(served):
    """Tables with both columns write null for the empty one."""
    prompt = {"id": "a", "prompt": "Ann 1, Bob 2. Total?", "messages": None}
    assert run_r1("sample", served, "-", "--group", "1", stdin=lines(prompt), check=0).stdout


def test_a_byte_order_mark_is_no_error(served):
    """Windows programs put one in front of a file."""
    record = {"id": "a", "completion": "<think>x</think><answer>1</answer>", "answer": "1"}
    out = run_r1("reward", "--accuracy", stdin=b"\xef\xbb\xbf" + lines(record), check=0).stdout
    assert json.loads(out)["reward"] == 1


@pytest.mark.parametrize(
    ("flag", "other"),
    [("--lenient", "--format"), ("--format-shape=think", "--accuracy"), ("--language-detector", "--format")],
)
def test_an_option_of_a_reward_that_is_not_asked_for(flag, other):
    """A flag that does nothing is an error."""
    done = run_r1("reward", other, flag, stdin=b"")
    assert done.returncode == 2 and b"was not asked for" in done.stderr


@pytest.mark.parametrize(
    ("key", "value"), [("hidden_size", "x"), ("num_attention_heads", 0), ("rope_parameters", {"rope_type": "llama3"})]
)
def test_a_configuration_that_makes_no_sense_is_one_line(tmp_path, key, value):
    """A damaged config.json is the checkpoint's fault, not a defect of ours."""
    model = tmp_path / "model"
    creation.export(locate("tiny")[0], model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {key: value}))
    done = run_r1("sample", model, "-", stdin=lines({"prompt": "x"}))
    assert done.returncode == 2 and b"config.json" in done.stderr and b"bug" not in done.stderr
