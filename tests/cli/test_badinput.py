"""Bad prompts, records and checkpoints: one line that names place, field and remedy, the right exit code, no hang."""

import json
import re
import shutil
from pathlib import Path

import pytest
from batches import SMALL, refused
from conftest import run_r1

from r1cli.creation import export
from r1cli.errors import InputError
from r1cli.runs import locate

TINY = Path(__file__).parents[2] / "r1cli" / "tiny" / "checkpoint"


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ([], ["no prompts", "empty"]),
        (['{"prompt":"1"}', '{"id":"a"}'], ['p.jsonl:2: missing "prompt"', "found id"]),
        (['{"prompt":"1"}', '{"prompt":" "}'], ['p.jsonl:2: "prompt" is empty']),
        (['{"prompt":"1"}', '{"prompt":5}'], ['p.jsonl:2: "prompt" must be a string, found 5']),
        (['{"prompt":"1","id":7}'], ['p.jsonl:1: "id" must be a string, found 7']),
        (['{"prompt":"1","id":"a"}', "", '{"prompt":"2","id":"a"}'], ['p.jsonl:3: duplicate id "a"', "p.jsonl:1"]),
        (['{"prompt":"1"}', '{"prompt":"1"}'], ["p.jsonl:2: duplicate id", "p.jsonl:1"]),
        (['{"prompt":NaN}'], ["p.jsonl:1: NaN", "null"]),
        (['{"prompt":"1"}', '{"prompt":"2'], ["p.jsonl:2: not JSON", "torn"]),
        (["[", '{"prompt":"1"}', "]"], ["p.jsonl:1: not JSON", "; a JSON array becomes prompts by r1 prompts FILE, "]),
        (['{"messages":[]}'], ['p.jsonl:1: "messages" must be']),
        (['{"messages":[{"role":"user"}]}'], ['p.jsonl:1: "messages" must be', '"content"']),
        (['{"prompt":"1"}', json.dumps({"prompt": "1 2 " * 300})], ["p.jsonl:2: ", "context is 512", "shorten"]),
    ],
)
def test_bad_prompts(served, tmp_path, prompts, words):
    (tmp_path / "p.jsonl").write_text("\n".join(prompts))
    refused(run_r1("sample", served, "p.jsonl", cwd=tmp_path), "r1 sample: ", *words)


def test_prompts_with_skip_bad(served, tmp_path):
    """Bad lines and bad prompts are counted, the good ones sampled."""
    (tmp_path / "p.jsonl").write_text('{"prompt":"1 + 1"}\n{"prompt":3}\nno\n{"prompt":"2 + 2"}\n{"pro')
    done = run_r1("sample", served, "p.jsonl", *SMALL, "--skip-bad", cwd=tmp_path, check=0)
    prompts = sorted(json.loads(line)["prompt"] for line in done.stdout.splitlines())  # groups come as they finish
    assert prompts == ["1 + 1"] * 3 + ["2 + 2"] * 3
    assert done.stderr == b"r1 sample: warning: skipped 3 bad lines\n"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (b'{"answer":"1"}', ['missing "completion"', "found answer"]),
        (b'{"completion":3,"answer":"1"}', ['"completion" must be a string, found 3']),
        (b'{"completion":"x"', ["not JSON", "torn"]),
        (b'{"completion":"x","answer":"1","rewards":{"z":"high"}}', ['"rewards"', "z"]),
    ],
)
def test_bad_records_to_judge(record, words):
    """What was judged before the bad line has left already; the bad line stops the work, or is counted."""
    good = b'{"completion":"1","answer":"1"}\n'
    done = run_r1("reward", "--accuracy", stdin=good + record + b"\n" + good)
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 1
    assert done.stderr.decode().startswith("r1 reward: stdin:2: ") and done.stderr.count(b"\n") == 1
    for word in words:
        assert word in done.stderr.decode()
    skipped = run_r1("reward", "--accuracy", "--skip-bad", stdin=good + record + b"\n" + good, check=0)
    assert len(skipped.stdout.splitlines()) == 2
    assert len(re.findall(rb"skipped 1 ", skipped.stderr)) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["--accuracy", "--format", "--language"]),
        (["--language", "rollouts.jsonl"], ["unknown language 'rollouts.jsonl'"]),
        (["--format", "--weight", "accuracy=1"], ["accuracy is not among the rewards asked for (format)"]),
        (["--format", "--weight", "format=much"], ["--weight format=much", "NAME=NUMBER"]),
        (["--format", "--weight", "format=nan"], ["weight of format", "finite"]),
        (["--format", "nowhere.jsonl"], ["cannot read nowhere.jsonl", "No such file"]),
        (["--format", "."], ["cannot read .", "Is a directory"]),
    ],
)
def test_bad_ways_to_judge(options, words):
    refused(run_r1("reward", *options), "r1 reward: ", *words)


def test_empty_stream_to_eval():
    refused(run_r1("eval", "-"), "r1 eval: ", "empty")


def test_unknown_checkpoint(tmp_path):
    """Said before torch is loaded, with what would have been accepted."""
    for name in ("nowhere", "some/model"):
        refused(run_r1("sample", name, cwd=tmp_path), f"no checkpoint {name}", "a run (r1 init makes one)", "`tiny`")
        refused(run_r1("init", "new", "--from", name, cwd=tmp_path), f"no checkpoint {name}")
        refused(run_r1("eval", name, cwd=tmp_path), f"no checkpoint {name}")
    (tmp_path / "empty").mkdir()
    refused(run_r1("sample", "empty", cwd=tmp_path), "run.json", "config.json")
    refused(run_r1("serve", "empty", cwd=tmp_path), "not a run directory", "r1 init")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["step-009999", "step-3"])
def test_step_that_is_not_there(run, name):
    """A run's folder is no hub id: what it has is said instead of how to fetch it."""
    with pytest.raises(InputError, match=rf"{name}: {run} has the steps 0 \("):
        locate(str(run / name))


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_checkpoint_without_a_file(tmp_path, missing):
    folder = shutil.copytree(TINY, tmp_path / "model")
    (folder / missing).unlink()
    (tmp_path / "p.jsonl").write_text('{"prompt":"1 + 1"}\n')
    refused(run_r1("sample", folder, tmp_path / "p.jsonl"), str(folder), missing)
    refused(run_r1("init", tmp_path / "new", "--from", folder), str(folder), missing)
    assert not (tmp_path / "new").exists()


def damaged(whole: bytes) -> dict[str, bytes]:
    """Ways in which a copy of a safetensors file stops being one."""
    length = int.from_bytes(whole[:8], "little")
    return {
        "cut in the weights": whole[:-1000],
        "cut in the header": whole[: length // 2],
        "empty": b"",
        "longer": whole + b"x",
        "overwritten": whole[:8] + b"x" * (len(whole) - 8),
    }


def test_export_refuses_weights_that_are_not_whole(tmp_path):
    """A cut copy would be found by whoever loads it, far from here; nothing is left behind."""
    model = tmp_path / "model"
    export(locate("tiny")[0], model)
    weights = model / "model.safetensors"
    for content in damaged(weights.read_bytes()).values():
        weights.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.safetensors: not a whole safetensors file .*; copy it again$"):
            export(model, tmp_path / "out")
        assert list(tmp_path.iterdir()) == [model]


def test_checkpoint_of_an_unknown_architecture(tmp_path):
    """The message lists the architectures that are known."""
    folder = shutil.copytree(TINY, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["MambaForCausalLM"]}))
    (tmp_path / "p.jsonl").write_text('{"prompt":"1 + 1"}\n')
    known = ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"]
    refused(run_r1("sample", folder, tmp_path / "p.jsonl"), "MambaForCausalLM", *known)


def test_plain_folder_has_no_questions_of_its_own():
    refused(run_r1("sample", "tiny"), "no prompts", "name a JSONL file", "r1 init --task")
