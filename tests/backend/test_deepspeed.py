"""The DeepSpeed trainer over two ranks, three and one, held against the torch trainer of one process and a naive loss.

The ranks really run (gloo, CPU), once for all tests; each test looks at what they kept.
"""

import dataclasses
import json
import pickle
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from deepspeed_cases import CUT, OFF_POLICY, PLACES, TRAINING
from ranks_program import kept, once, run
from safetensors.torch import load_file
from trainer_oracle import CONFIGS, distance, gradients, make_pair, make_rollouts, naive_loss
from transformers import AutoModelForCausalLM

from r1cli.algorithms.settings import CHOICES
from r1cli.backend.grpo import grpo_step
from r1cli.backend.trainer_torch import TorchTrainer

STAGES = (1, 2, 3)
TWO = ["gradients", "architectures", "training", "scarce", "refusals", "files", "low_precision", "spread"]


def prepare(folder: Path) -> None:
    """Checkpoints, references and rollouts that ranks and tests both start from."""
    for kind in CONFIGS:
        theirs, _ = make_pair(kind)
        theirs.save_pretrained(folder / kind)
        make_pair(kind, seed=3)[0].save_pretrained(folder / f"reference-{kind}")
        (folder / f"rollouts-{kind}").write_bytes(pickle.dumps(make_rollouts(theirs, groups=5)))
    (folder / "noisy").write_bytes(pickle.dumps(make_rollouts(make_pair("qwen2")[0], noise=0.2)))
    odd = load(folder, "rollouts-qwen3")
    for row, rollout in enumerate(odd):
        rollout.dropped = row % 5 == 0
        rollout.reward = None if row == 2 else 1.0 if rollout.group == 1 else rollout.reward
    (folder / "odd").write_bytes(pickle.dumps(odd))
    trainer = TorchTrainer(make_pair("qwen3")[1])
    grpo_step(trainer, load(folder, "rollouts-qwen3"), TRAINING, reference=trainer.model, stale=True, step=0)
    trainer.publish(folder / "torch", torch.float32)
    trainer.save(folder / "torch" / "trainer")
    other = TorchTrainer(make_pair("llama")[1])
    other.save(folder / "llama-state")
    shutil.copytree(folder / "torch" / "trainer", folder / "torn")
    (folder / "torn" / "optimizer.safetensors").write_bytes(b"\x08" + bytes(20))
    for name in ("torch", *(f"{count}-{stage}" for count in ("two", "three") for stage in STAGES)):
        (folder / name).mkdir(exist_ok=True)
        shutil.copy(folder / "qwen3" / "config.json", folder / name)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if base.name.startswith("popen-gw") else base) / "deepspeed"
    with once(shared) as first:
        if first:
            prepare(shared)
            chatter = [
                run("deepspeed_ranks", TWO, ranks=2, folder=shared),
                run("deepspeed_ranks", ["resumed"], ranks=3, folder=shared),
                run("deepspeed_ranks", ["alone"], ranks=1, folder=shared),
            ]
            (shared / "chatter.json").write_text(json.dumps(chatter))
    return shared


def load(folder: Path, name: str) -> list:
    return pickle.loads((folder / name).read_bytes())


@pytest.mark.parametrize("normalize", CHOICES["normalize"])
@pytest.mark.parametrize("loss", CHOICES["loss"])
def test_two_ranks_give_the_gradient_of_one(folder, loss, normalize):
    """Every loss and normalisation, off policy with KL and entropy: the loss is that of the whole batch, not a mean
    of means, and DeepSpeed's divisions are undone."""
    settings = dataclasses.replace(OFF_POLICY, loss=loss, normalize=normalize)
    rollouts = load(folder, "noisy")
    theirs, ours = make_pair("qwen2")
    pinned, reference = make_pair("qwen2", seed=3)
    naive_loss(theirs, pinned, rollouts, settings, stale=True).backward()
    naive = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    one = gradients(TorchTrainer(ours), rollouts, settings, reference=reference, stale=True)
    for stage in STAGES:
        found = kept(folder, "gradients")[stage, loss, normalize]
        assert distance(found, one) < 1e-5
        assert distance(found, naive) < 1e-5


@pytest.mark.parametrize("kind", CONFIGS)
def test_gradient_for_every_architecture(folder, kind):
    """Tied and untied heads, norms of queries and keys, recomputed activations, weights on the host."""
    one = gradients(TorchTrainer(make_pair(kind)[1]), load(folder, f"rollouts-{kind}"), CUT)
    found = {place: grads for (name, place), grads in kept(folder, "architectures").items() if name == kind}
    assert len(found) == 3
    for place, grads in found.items():
        assert distance(grads, one) < 1e-5, place


def trained(folder: Path) -> tuple[list[dict], TorchTrainer]:
    """The metrics and the trainer of one process after what `training` does."""
    trainer = TorchTrainer(make_pair("qwen3")[1])
    reference = make_pair("qwen3", seed=3)[1]
    rollouts = load(folder, "rollouts-qwen3")
    metrics = grpo_step(trainer, rollouts, TRAINING, reference=reference, stale=True, step=0)
    metrics += grpo_step(trainer, load(folder, "odd"), CUT, reference=None, stale=False, step=4)
    metrics += grpo_step(trainer, rollouts, CUT, reference=None, stale=False, step=5)
    return metrics, trainer


@pytest.mark.parametrize("place", PLACES)
def test_a_few_batches_train_as_in_one_process(folder, place):
    """Clipping, weight decay on matrices only, old and reference log-probs of several updates, dropped and failed
    rollouts, a group without signal: the same weights, moments and metrics, on both ranks."""
    metrics, trainer = trained(folder)
    start = dict(make_pair("qwen3")[1].named_parameters())
    for rank in (0, 1):
        found = kept(folder, "training", rank)[place]
        assert all(torch.equal(value, start[name]) for name, value in found["start"].items())
        compare(found["end"], dict(trainer.weights()), start)
        assert distance(found["moments"], dict(trainer.moments())) < 1e-5
        for mine, theirs in zip(found["metrics"], metrics, strict=True):
            assert mine.keys() == theirs.keys()
            same_metrics(mine, theirs, theirs.keys() - {"seconds", "rewards"})


def compare(found: dict, expected: dict, start: dict) -> None:
    """Both moved by the same: within 1e-5 of a tensor's largest move, and two units in the last place of its fp32."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        move = (value - start[name]).abs().max()
        room = 1e-5 * move + 2 * torch.finfo(torch.float32).eps * value.abs()
        assert move > 1e-4 and ((found[name] - value).abs() <= room).all(), name


def same_metrics(found: dict, expected: dict, names: Iterable[str]) -> None:
    """Equal within 1e-4, as sums over tokens in another order are."""
    for name in names:
        if expected[name] is None:
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("stage", STAGES)
def test_less_work_than_ranks_hangs_nothing(folder, stage):
    """One rollout for two ranks, none at all, forward passes alone, one sequence to score."""
    rollouts = load(folder, "rollouts-qwen3")
    trainer = TorchTrainer(make_pair("qwen3")[1])
    start = {name: value.clone() for name, value in trainer.weights()}
    batches = (
        [dataclasses.replace(r, dropped=row != 3) for row, r in enumerate(rollouts)],
        [dataclasses.replace(r, dropped=True) for r in rollouts],
        [dataclasses.replace(r, reward=1.0) for r in rollouts],
    )
    for step, batch in enumerate(batches):
        metrics = grpo_step(trainer, batch, CUT, reference=None, stale=False, step=step)[0]
        for rank in (0, 1):
            found = kept(folder, "scarce", rank)[stage]["metrics"][step]
            same_metrics(found, metrics, ("loss", "grad_norm", "tokens", "entropy", "weights_sum"))
    for rank in (0, 1):
        found = kept(folder, "scarce", rank)[stage]
        compare(found["end"], dict(trainer.weights()), start)
        for count, lists in zip((1, 5), found["score"], strict=True):
            wanted = trainer.score([(r.prompt_ids, r.completion_ids, r.temperature) for r in rollouts[:count]])
            for mine, theirs in zip(lists, wanted, strict=True):
                assert mine == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("place", PLACES)
def test_what_one_rank_calls_off_is_off_for_all(folder, place):
    """Rank 0's client left, then rank 1's gradient was not a number, then memory ran out half-way: all ranks stop,
    weights and moments keep their bits, and the next update is the one that it would have been."""
    trainer = TorchTrainer(make_pair("qwen3")[1])
    start = {name: value.clone() for name, value in trainer.weights()}
    for step in (0, 1):
        metrics = grpo_step(trainer, load(folder, "rollouts-qwen3"), CUT, reference=None, stale=False, step=step)
    for rank in (0, 1):
        found = kept(folder, "refusals", rank)[place]
        assert found["said"][0] == ("Cancelled: somebody left", "R1Error: somebody left")[rank]
        assert re.fullmatch("R1Error: update 2: loss .*, gradient norm (nan|inf), expected finite.*", found["said"][1])
        assert found["said"][2:] == ["MemoryError: no more"] and found["same"]
        assert found["metrics"][0]["grad_norm"] == pytest.approx(metrics[0]["grad_norm"], rel=1e-5)
        compare(found["end"], dict(trainer.weights()), start)


@pytest.mark.parametrize("stage", STAGES)
def test_saved_files_are_the_torch_trainers(folder, stage):
    """Names, order, shapes and steps; values as close as the training; Hugging Face loads what was published."""
    found = kept(folder, "files")[stage]
    mine, theirs = folder / f"two-{stage}", folder / "torch"
    for name in ("trainer/master.safetensors", "trainer/optimizer.safetensors", "model.safetensors"):
        heads = [(side / name).read_bytes() for side in (mine, theirs)]
        size = 8 + int.from_bytes(heads[0][:8], "little")
        assert heads[0][:size] == heads[1][:size] and len(heads[0]) == len(heads[1]), name
        assert distance(load_file(mine / name), load_file(theirs / name)) < 1e-3
    assert (mine / "trainer/optimizer.json").read_text() == (theirs / "trainer/optimizer.json").read_text()
    for file in ("trainer/master.safetensors", "model.safetensors"):
        assert all(torch.equal(value, found["at"][name]) for name, value in load_file(mine / file).items())
    model = AutoModelForCausalLM.from_pretrained(mine, dtype=torch.float32)
    assert all(torch.equal(value, found["at"][name]) for name, value in model.named_parameters())
    narrow = load_file(mine / "bf16" / "model.safetensors")
    assert all(torch.equal(value, found["at"][name].bfloat16()) for name, value in narrow.items())


@pytest.mark.parametrize("stage", STAGES)
def test_what_cannot_be_read_or_written_fails_on_all_ranks(folder, stage):
    """No rank is left waiting for the one that met the disk, and nothing has changed."""
    for rank in (0, 1):
        found = kept(folder, "files", rank)[stage]
        torn, other, full = found["errors"]
        assert "cannot read the trainer's state" in torn and "belongs to another run" in other
        assert "could not be written" in full and "is the disk full?" in full
        assert found["same"] and not any("\n" in error for error in found["errors"])


@pytest.mark.parametrize("stage", STAGES)
def test_resume_on_another_number_of_ranks(folder, stage):
    """Two ranks to three (and another stage) to one, to the torch trainer: the same bits, and the next update is the
    uninterrupted one's."""
    straight = kept(folder, "files")[stage]
    trainer = TorchTrainer(make_pair("qwen3", seed=1)[1])
    trainer.load(folder / f"three-{stage}" / "trainer")
    at = {name: value.clone() for name, value in trainer.weights()}
    grpo_step(trainer, load(folder, "rollouts-qwen3"), CUT, reference=None, stale=False, step=4)
    for name in ("master.safetensors", "optimizer.safetensors"):
        saved = [(folder / f"{count}-{stage}" / "trainer" / name).read_bytes() for count in ("two", "three")]
        assert saved[0] == saved[1], name
    others = [kept(folder, "resumed", rank)[stage] for rank in (0, 1, 2)]
    others += [kept(folder, "alone")[stage], {"at": at, "next": dict(trainer.weights())}]
    for found in others:
        assert all(torch.equal(value, straight["at"][name]) for name, value in found["at"].items())
        compare(found["next"], straight["next"], straight["at"])


def test_resume_from_the_torch_trainer(folder):
    """A run that began in one process goes on over two ranks."""
    trainer = TorchTrainer(make_pair("qwen3", seed=1)[1])
    trainer.load(folder / "torch" / "trainer")
    at = {name: value.clone() for name, value in trainer.weights()}
    grpo_step(trainer, load(folder, "rollouts-qwen3"), CUT, reference=None, stale=False, step=4)
    found = kept(folder, "files")["torch"]
    assert all(torch.equal(value, found["at"][name]) for name, value in at.items())
    compare(found["next"], dict(trainer.weights()), at)


@pytest.mark.parametrize("place", PLACES)
def test_bf16_computes_over_fp32_masters(folder, place):
    """Log-probs as near as bf16 is; the fp32 copy is whole from the start and moves by less than bf16 can show."""
    rollouts = load(folder, "rollouts-qwen2")
    trainer = TorchTrainer(make_pair("qwen2")[1])
    wanted = trainer.score([(r.prompt_ids, r.completion_ids, r.temperature) for r in rollouts])
    start = dict(trainer.model.named_parameters())
    exact = gradients(trainer, rollouts, CUT)
    for rank in (0, 1):
        found = kept(folder, "low_precision", rank)[place]
        assert found["dtypes"] == {torch.bfloat16}
        gaps = torch.tensor(
            [a - b for x, y in zip(found["score"], wanted, strict=True) for a, b in zip(x, y, strict=True)]
        )
        assert 1e-4 < gaps.abs().mean() < 0.05
        assert all(torch.equal(value, found["gradient"][name]) for name, value in found["again"].items())
        flat = [torch.cat([side[name].flatten().float() for name in exact]) for side in (found["gradient"], exact)]
        assert torch.cosine_similarity(*flat, dim=0) > 0.99
        for name, value in found["end"].items():
            assert torch.equal(found["start"][name], start[name])
            assert found["narrow"][name].dtype == torch.bfloat16
            assert torch.equal(found["narrow"][name], value.bfloat16())
            if "bias" not in name:
                assert 1e-6 < (value - start[name]).abs().max() < 4e-6, name


def test_stage_3_never_holds_the_whole_model(folder):
    """Policy and reference: half of the matrices on each of two ranks, before use and after it."""
    for rank in (0, 1):
        found = kept(folder, "spread", rank)
        for held in found["held"]:
            assert found["matrices"] / 2 <= held <= found["matrices"] / 2 * 1.05


def test_ranks_are_quiet_and_build_nothing(folder):
    """Standard output carries records; a compiler at the first start would cost every user a minute."""
    for out, err in json.loads((folder / "chatter.json").read_text()):
        assert out == ""
        assert err == ""
    assert not (folder / "built").exists()
    assert not [path.name for path in Path("/dev/shm").iterdir() if path.name.startswith("deepspeed")]
