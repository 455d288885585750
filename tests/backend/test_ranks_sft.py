"""Supervised fine-tuning and on-policy distillation over several ranks do what one process does."""

import json

import pytest
from conftest import run_r1
from ranked import TWO, all_gone, end, serve
from residents import records
from test_ranks import same

# 13 examples, so that neither updates nor ranks get equal shares; the last update has a single one for two ranks.
EXAMPLES = [
    {
        "id": f"e{number}",
        "prompt": f"{number} + {number % 4}",
        "completion": f"<answer> {number + number % 4} </answer>",
    }
    for number in range(13)
]
ASKED = ("--epochs", "1", "--batch", "4", "--lr", "1e-3", "--validation", "held.jsonl")
# The student of that training goes back to its base: 5 prompts of 4 samples, 8 an update.
TAUGHT = ("--teacher", "tiny", "--on-policy", "--sample", "--group 4 --max-tokens 16", "--batch", "8", "--epochs", "1")


def test_training_over_ranks_equals_one_process(tmp_path):
    """Losses, validation and weights of trainings by two ranks, sent by a client, against one process."""
    for name, rows in (("examples", EXAMPLES), ("held", EXAMPLES[:3])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": row["prompt"]}) + "\n" for row in EXAMPLES[:5])
    )
    found, taught = {}, {}
    for name in ("ranks", "alone"):
        run = tmp_path / name
        run_r1("init", run, "--from", "tiny", check=0)
        if name == "ranks":
            assert sorted(serve(run, *TWO)) == [0, 1]
        try:
            done = run_r1("sft", run, "examples.jsonl", *ASKED, cwd=tmp_path, check=0)
            found[name] = records(done.stdout)
            done = run_r1("distill", run, "prompts.jsonl", *TAUGHT, cwd=tmp_path, check=0)
            taught[name] = records(done.stdout)
            if name == "ranks":
                run_r1("serve", run, "--stop", check=0)
                all_gone(run)
        finally:
            end(run)
    assert [record["samples"] for record in found["ranks"]] == [4, 4, 4, 1]
    for mine, theirs in zip(found["ranks"], found["alone"], strict=True):
        for key in ("loss", "grad_norm", "labelled_tokens", "validation_loss"):
            assert mine[key] == (theirs[key] and pytest.approx(theirs[key], rel=1e-5)), key
    assert found["ranks"][-1]["validation_loss"] is not None
    assert len(taught["ranks"]) == len(taught["alone"]) > 1
    for mine, theirs in zip(taught["ranks"], taught["alone"], strict=True):
        for key in ("reverse_kl", "grad_norm", "tokens"):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-4), key
    same(tmp_path / "ranks", tmp_path / "alone")
