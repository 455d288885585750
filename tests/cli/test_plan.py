"""r1 serve --plan: a record for programs, a table for people, the verdict, and what cannot be planned."""

import json

import pytest
from conftest import run_r1

CHECKPOINTING = "--gradient-checkpointing"
EIGHT = ("--model-size", "7B", "--gpus", "8")


def plan(run, *options):
    done = run_r1("serve", run, "--plan", *options, check=0)
    (line,) = done.stdout.splitlines()
    return json.loads(line), done.stderr.decode()


def test_record_and_table(run):
    """Every part is in both; the sums are the parts'; nothing is started."""
    record, text = plan(
        run, "--gpus", "64", "--gpu-size", "80GB", "--model-size", "32b", "--zero", "3", "--context", "4096",
        "--gradient-checkpointing",
    )  # fmt: skip
    assert (record["model"], record["parameters"], record["gpus"], record["gpu"]) == ("32B", 32763876352, 64, 80.0)
    for phase, value in record["total"].items():
        assert value == pytest.approx(sum(part[phase] for part in record["parts"].values()), abs=0.01)
    assert record["needed"] == max(record["total"][phase] for phase in ("sampling", "passes", "step"))
    assert all(f"r1 serve: {name} " in text for name in record["parts"])
    # 12 bytes of optimizer over 64 GPUs; a bf16 copy to sample from on each.
    assert record["parts"]["optimizer"]["step"] == pytest.approx(12 * 32.764 / 64 / 1.0737, rel=0.01)
    assert record["parts"]["sampler's weights"]["step"] == pytest.approx(2 * 32.764 / 1.0737, rel=0.01)
    assert not (run / "serve.json").exists()


def test_the_run_s_own(run, tmp_path):
    """Model, adapters, lengths and KL are the run's; the tiny base fits anywhere."""
    record, text = plan(run)
    assert record["model"] == "tiny" and record["parameters"] == 290_976 and record["context"] == 96
    assert record["fits"] and record["change"] is None and text.splitlines()[-1].endswith("80 GiB: fits")
    assert "reference" not in record["parts"]
    run_r1("init", tmp_path / "lora", "--lora", "4", "--lora-targets", "attention", check=0)
    assert plan(tmp_path / "lora")[0]["trainer"] == "lora"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model-size", "7B", "--context", "2048"), "--lora 32"),
        (
            (*EIGHT, "--context", "2048", "--zero", "1", "--slots", "32", "--gpu-size", "64GB", CHECKPOINTING),
            "--zero 2",
        ),
        (
            ("--model-size", "7B", "--lora", "8", "--context", "4096", "--micro-tokens", "16384"),
            "--gradient-checkpointing",
        ),
        (("--model-size", "0.5B", "--gpu-size", "24GB", "--context", "32768"), "--slots"),
        (("--model-size", "72B", "--gpu-size", "8GB", "--gpus", "2"), "take larger GPUs"),
        ((*EIGHT, "--sampler", "vllm", "--gpu-memory", "0.1"), "vLLM's 10% can't hold"),
    ],
)
def test_what_to_change(run, options, words):
    """One line that names options; with them, it fits."""
    record, text = plan(run, *options)
    assert not record["fits"] and words in record["change"] and "\n" not in record["change"]
    assert record["change"] in text.splitlines()[-1]
    if record["change"].startswith("add "):
        again, _ = plan(run, *options, *record["change"].removeprefix("add ").split())
        assert again["fits"], (record["change"], again["total"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--plan", "--model-size", "9B"), "no model size 9B: known are 0.5B"),
        (("--plan", "--gpu-size", "big"), "expected a size such as 80GB"),
        (("--plan", "--zero", "3"), "give --gpus N"),
        (("--plan", "--gpus", "2", "--lora", "8"), "adapters train in one process"),
        (("--plan", "--device", "cpu"), "--plan is about GPUs"),
        (("--plan", "--stop"), "exclude each other"),
        (("--gpu-size", "80GB"), "--gpu-size is an option of --plan"),
    ],
)
def test_what_cannot_be_planned(run, options, words):
    done = run_r1("serve", run, *options)
    assert (
        done.returncode == 2 and done.stdout == b"" and done.stderr.count(b"\n") == 1 and words in done.stderr.decode()
    )
