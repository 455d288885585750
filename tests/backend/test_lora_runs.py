"""Runs of LoRA adapters through the program: training, going on after a crash, what is published, what is refused."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ENVIRONMENT, run_r1
from peft import PeftModel
from residents import batch, judge, kill_backend, one_line, records, step_of
from safetensors.torch import load_file
from sft_work import sums
from transformers import AutoModelForCausalLM

import r1cli
from r1cli import stream
from r1cli.backend.base import EngineOptions
from r1cli.backend.engine import Engine
from r1cli.errors import R1Error
from r1cli.records import collect
from r1cli.runs import Run

TINY = Path(r1cli.__file__).parent / "tiny" / "checkpoint"
# A reference that moves, so that it is the base first and an older step's adapters later.
TRAIN = ("grpo-step", "--kl", "0.05", "--lr", "0.004", "--refresh-reference", "2")
FILES = (
    "model.safetensors", "adapter/adapter_model.safetensors", "trainer/adapter.safetensors",
    "trainer/optimizer.safetensors", "trainer/optimizer.json",
)  # fmt: skip


def digests(run):
    return {name: hashlib.sha256((run / "latest" / name).read_bytes()).hexdigest() for name in FILES}


def train(run, steps):
    """Updates by the pipe; returns their metrics."""
    return [records(run_r1(*TRAIN, stdin=batch(run, "--questions", "4"), check=0).stdout)[0] for _ in range(steps)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of rank 4 after four updates by a resident backend that nothing disturbed, and their metrics."""
    run = tmp_path_factory.mktemp("lora") / "run"
    run_r1("init", run, "--lora", "4", "--lora-alpha", "8", "--seed", "3", "--keep", "0", check=0)
    run_r1("serve", run, "--detach", check=0)
    metrics = train(run, 4)
    run_r1("serve", run, "--stop", check=0)
    return run, metrics


def test_sampler_and_trainer_agree_over_updates(trained):
    """The sampler has merged weights of its own: refreshed after each update, they say what the trainer says."""
    run, metrics = trained
    assert [record["step"] for record in metrics] == [1, 2, 3, 4]
    assert all(0 <= record["logprob_gap_max"] < 1e-4 for record in metrics)
    assert all(record["ratio_max"] == 1 for record in metrics)
    # Before the first update policy and reference are the base; the third meets the step-2 policy as its reference.
    assert metrics[0]["kl"] == 0 == metrics[2]["kl"] and metrics[1]["kl"] > 1e-5 and metrics[3]["kl"] > 1e-5
    assert json.loads((run / "run.json").read_text())["lora"] == {"rank": 4, "alpha": 8.0, "targets": "all-linear"}


def test_goes_on_after_kill_and_by_itself_to_the_bit(trained, tmp_path):
    """Killed after two updates, then served again, then without a backend: the files of the undisturbed run."""
    run = tmp_path / "run"
    run_r1("init", run, "--lora", "4", "--lora-alpha", "8", "--seed", "3", check=0)
    run_r1("serve", run, "--detach", check=0)
    train(run, 2)
    kill_backend(run)
    run_r1("serve", run, "--detach", check=0)
    train(run, 1)
    run_r1("serve", run, "--stop", check=0)
    # The sampler's weights are made again from base and adapters, not read from the rounded model.safetensors.
    assert train(run, 1)[0]["logprob_gap_max"] < 1e-4
    assert digests(run) == digests(trained[0])


def test_what_is_published(trained, tmp_path):
    """The exported model loads with from_pretrained; the adapter alone, put on the base by peft, is the same policy."""
    run, _ = trained
    done = run_r1("export", run, tmp_path / "model", check=0)
    assert done.stderr.decode() == f"r1 export: step-000004 of {run} is in {tmp_path}/model\n"
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == sorted(p.name for p in TINY.iterdir())
    done = run_r1("export", run, tmp_path / "adapter", "--adapter", check=0)
    assert done.stderr.decode() == f"r1 export: step-000004/adapter of {run} is in {tmp_path}/adapter\n"
    base = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    ids = torch.arange(20, 60)[None]
    with torch.no_grad():
        plain = base(ids).logits.log_softmax(-1)
        adapted = PeftModel.from_pretrained(base, tmp_path / "adapter")(ids).logits.log_softmax(-1)
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
        merged = model(ids).logits.log_softmax(-1)
    moved = (adapted - plain).abs().max()
    assert moved > 0.2 and (adapted - merged).abs().max() < moved / 5  # the model is rounded to bf16, as the base is
    configuration = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (configuration["r"], configuration["lora_alpha"]) == (4, 8.0)
    assert configuration["base_model_name_or_path"] == str(TINY)
    old = load_file(run / "step-000001" / "trainer" / "adapter.safetensors")
    assert {name.rpartition(".lora_")[2] for name in old} == {"A.weight", "B.weight"}


def test_a_run_of_adapters_is_a_checkpoint_like_any_other(trained, tmp_path):
    """Sampling needs no peft; its step folder is a plain model; a run may begin from it, and trains whole weights."""
    run, _ = trained
    forbid = "import sys; sys.modules['peft'] = None; from r1cli.app import main; main()"
    words = ["sample", str(run), "--questions", "1", "--group", "2"]
    done = subprocess.run([sys.executable, "-c", forbid, *words], capture_output=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0 and len(records(done.stdout)) == 2, done.stderr.decode()
    question = run_r1("prompts", "sum", "--limit", "1", check=0).stdout
    assert records(run_r1("sample", run / "step-000004", "-", "--group", "2", stdin=question, check=0).stdout)
    run_r1("init", tmp_path / "next", "--from", run, check=0)
    assert "lora" not in json.loads((tmp_path / "next" / "run.json").read_text())
    assert not (tmp_path / "next" / "step-000000" / "adapter").exists()
    run_r1("grpo-step", stdin=batch(tmp_path / "next", "--questions", "2"), check=0)
    assert (tmp_path / "next" / "latest" / "trainer" / "master.safetensors").exists()


def test_rollback_reads_the_older_adapters(tmp_path):
    """Back to a step and the same batch again: the same metrics."""
    run = tmp_path / "run"
    run_r1("init", run, "--lora", "4", "--seed", "3", check=0)
    rollouts = [batch(run, "--questions", "4")]
    first = records(run_r1(*TRAIN, stdin=rollouts[0], check=0).stdout)[0]
    rollouts.append(batch(run, "--questions", "4"))
    second = records(run_r1(*TRAIN, stdin=rollouts[1], check=0).stdout)[0]
    assert first["loss"] != second["loss"]
    run_r1("rollback", run, "--to", "1", check=0)
    again = records(run_r1(*TRAIN, stdin=rollouts[1], check=0).stdout)[0]
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in second.items() if k != "seconds"}
    assert step_of(run) == 2


def test_an_update_that_fails_half_way_leaves_the_step_on_disk(trained, monkeypatch):
    """The sampler's weights are then those of the last saved step, made of base and adapters again."""
    engine = Engine(trained[0] / "latest", Run.open(trained[0]), EngineOptions(device="cpu"), lambda _: None)
    model = engine.learner.model
    before = {name: p.clone() for name, p in model.named_parameters()}
    lines = batch(trained[0], "--questions", "2").splitlines(keepends=True)
    rollouts = collect(((line, "test") for line in lines), stream.parse)

    def fail(**_):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        raise R1Error("as if the device had failed")

    trainer = engine.learner.trainer()
    monkeypatch.setattr(trainer, "update", fail)
    with pytest.raises(R1Error, match="as if"):
        engine.grpo_step(rollouts, {"settings": {"kl": 0.0}})
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert engine.learner.trainer() is not trainer


def test_adapters_learn_from_examples(tmp_path):
    """r1 sft trains the adapters alone, by the run's tenfold rate; what it publishes is base plus adapters."""
    run = tmp_path / "run"
    run_r1("init", run, "--lora", "4", "--seed", "3", check=0)
    held = tmp_path / "held.jsonl"
    held.write_bytes(sums(16, seed=2))
    words = ("sft", run, "-", "--epochs", "2", "--batch", "16", "--lr", "0.01", "--validation", held)
    metrics = records(run_r1(*words, stdin=sums(64), check=0).stdout)
    losses = [loss for record in metrics if (loss := record["validation_loss"]) is not None]
    assert losses[-1] < losses[0]
    trainer = run / "latest" / "trainer"
    assert (trainer / "adapter.safetensors").exists() and not (trainer / "master.safetensors").exists()
    before, after = (load_file(run / step / "model.safetensors") for step in ("step-000000", "latest"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(name.endswith("_proj.weight") for name in moved)
    again = run_r1(*words, stdin=sums(64), check=0)
    assert [record["loss"] for record in records(again.stdout)] == [record["loss"] for record in metrics]


def test_damaged_adapters_are_one_line(tmp_path):
    """A torn file is named, with what to do; the program does not sample from the bare base instead."""
    run = tmp_path / "run"
    run_r1("init", run, "--lora", "4", check=0)
    run_r1("grpo-step", stdin=judge(run_r1("sample", run, "--questions", "2", check=0).stdout), check=0)
    file = run / "latest" / "trainer" / "adapter.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    done = run_r1("sample", run)
    assert done.returncode == 1 and "cannot read the adapters" in one_line(done)


def test_learning_rate_of_adapters(trained, tmp_path):
    """Ten times that of whole weights, in run.json where it can be seen; not again for a run that begins from one."""

    def rate(*options):
        run = tmp_path / "-".join(options[-2:]).replace("/", "_")
        said = run_r1("init", run, *options, check=0).stderr.decode()
        value = json.loads((run / "run.json").read_text())["defaults"]["grpo"]["lr"]
        return value, said

    whole, _ = rate("--from", "tiny")
    tenfold, said = rate("--lora", "2")
    assert tenfold == pytest.approx(10 * whole) and f"learning rate {tenfold:g}" in said
    assert rate("--from", str(trained[0]), "--lora", "8")[0] == tenfold


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--lora-alpha", "16"), "give their rank by --lora"),
        (("--lora-targets", "attention"), "give their rank by --lora"),
        (("--lora", "4", "--lora-alpha", "0"), "expected a number above 0"),
        (("--lora", "0"), "--lora"),
        (("--lora", "4", "--lora-targets", "mlp"), "all-linear"),
    ],
)
def test_bad_options_of_init(options, words, tmp_path):
    done = run_r1("init", tmp_path / "run", *options)
    assert done.returncode == 2 and words in done.stderr.decode() and not (tmp_path / "run").exists()


def test_without_peft(tmp_path):
    """--lora says which command installs peft, before a run is made."""
    forbid = "import sys; sys.modules['peft'] = None; from r1cli.app import main; main()"
    words = ["init", str(tmp_path / "run"), "--lora", "4"]
    done = subprocess.run([sys.executable, "-c", forbid, *words], capture_output=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 2 and "pip install 'r1-pipes[lora]'" in one_line(done)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [("--gpus", "2"), ("--trainer", "deepspeed"), ("--gpus", "2", "--detach")])
def test_several_processes_are_refused(words, trained):
    """Adapters train in one process; that is said before any other is started."""
    done = run_r1("serve", trained[0], *words)
    assert done.returncode == 2 and "a run of adapters (r1 init --lora) trains in one process" in one_line(done)


def test_no_adapter_to_export(trained, run, tmp_path):
    """A run of whole weights has none, and step 0 is the base."""
    done = run_r1("export", run, tmp_path / "a", "--adapter")
    assert done.returncode == 2 and "trains whole weights and has no adapter" in one_line(done)
    done = run_r1("export", trained[0], tmp_path / "a", "--adapter", "--step", "0")
    assert done.returncode == 2 and "is the base, which has no adapter yet" in one_line(done)
