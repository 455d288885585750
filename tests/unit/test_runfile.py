"""What run.json may say: a slip of the hand is one line with file, key and what is allowed, when the run is opened."""

import json

import pytest

from r1cli.errors import InputError
from r1cli.runs import Run

SOUND = {
    "run": "one", "base": {"name": "tiny", "path": "/tiny"}, "template": "r1-zero", "seed": 0, "keep": 2,
    "save_every": 1, "refresh_reference": 400, "lora": None, "source": None,
    "defaults": {
        "sample": {"group": 4, "temperature": 1, "stop": ["\n"], "template": "raw"}, "grpo": {"lr": 1e-5, "kl": 0},
        "sft": {"epochs": 1}, "eval": {"samples": 4},
    },
}  # fmt: skip


def opened(tmp_path, text):
    """The run whose run.json holds this text."""
    (tmp_path / "run.json").write_text(text)
    return Run.open(tmp_path)


def test_a_sound_file_is_taken_as_it_is(tmp_path):
    """Values are not converted (they are part of what names a batch), and further keys are the user's notes."""
    said = {**SOUND, "note": {"why": "an ablation"}}
    config = opened(tmp_path, json.dumps(said)).config
    assert json.dumps(config) == json.dumps(said)


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("sample", {"grup": 4}, ["unknown setting 'grup'", "allowed are questions, group,", "did you mean group?"]),
        ("sample", {"group": "many"}, ["setting group is 'many'", "expected int"]),
        ("sample", {"group": 0}, ["group is 0", "1 or more"]),
        ("sample", {"stop": ["a", 3]}, ["stop is ['a', 3]", "a list of texts"]),
        ("sample", {"split": "tset"}, ["split is 'tset'", "one of train, test"]),
        ("eval", {"sample": 4}, ["unknown setting 'sample'", "did you mean samples?"]),
        ("grpo", {"lrr": 1e-5}, ["unknown setting 'lrr'; did you mean lr?"]),
        ("grpo", {"lr": "fast"}, ["setting lr is 'fast'", "expected float"]),
        ("grpo", {"clip_low": -1.0}, ["clip_low is -1.0", "0 or more"]),
        ("sft", {"epoch": 3}, ["unknown setting 'epoch'; did you mean epochs?"]),
        ("sft", 3, ["is 3", "expected an object"]),
        ("gpro", {}, ["unknown section", "allowed are sample, grpo, sft, eval", "did you mean grpo?"]),
        ("foo", {}, ["unknown section", "allowed are sample, grpo, sft, eval"]),
    ],
)
def test_defaults_that_nobody_takes(tmp_path, section, values, words):
    with pytest.raises(InputError) as error:
        opened(tmp_path, json.dumps({**SOUND, "defaults": {section: values}}))
    said = str(error.value)
    assert said.startswith(f"{tmp_path}/run.json: ") and f".defaults.{section}" in said and "\n" not in said
    assert all(word in said for word in words), said
    assert len(said) < len(str(tmp_path)) + 200


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "7"),
        ("seed", True),
        ("template", 3),
        ("keep", -1),
        ("save_every", 0),
        ("base", "tiny"),
        ("defaults", []),
    ],
)
def test_keys_of_a_wrong_type(tmp_path, key, value):
    with pytest.raises(InputError, match=f"run.json: .{key} is .*; expected a"):
        opened(tmp_path, json.dumps({**SOUND, key: value}))


def test_what_is_no_object(tmp_path):
    with pytest.raises(InputError, match=r"run.json: expected a JSON object, found list"):
        opened(tmp_path, "[]")
