"""Adapters held against Hugging Face's models with peft's own adapters: log-probs, gradients, weights, files."""

import dataclasses
from itertools import chain

import peft
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from trainer_oracle import CONFIGS, distance, gradients, hf_logprobs, make_pair, make_rollouts, naive_loss

from r1cli.algorithms.settings import GrpoSettings
from r1cli.backend.adapters import Lora
from r1cli.backend.grpo import grpo_step
from r1cli.backend.trainer_lora import LoraTrainer
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.errors import R1Error

LORA = Lora(rank=3, alpha=6.0, targets="all-linear", seed=5)
SETTINGS = GrpoSettings(kl=0.1, lr=1e-2, clip_low=0.2, clip_high=0.2, entropy=0.01)


def make_trainer(kind="qwen2", lora=LORA, *, seed=0, size=0.1, dtype=torch.float32):
    """A trainer with B of that size, of the same base as make_pair's."""
    trainer = LoraTrainer(make_pair(kind)[1].to(dtype), lora)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, adapter in trainer.adapters.items():
            if name.endswith("lora_B.weight"):
                adapter.copy_(torch.randn(adapter.shape, generator=generator) * size)
    return trainer


def make_oracle(trainer, kind, folder, *, trainable=False):
    """Hugging Face's model of the base, with the adapter that the trainer published read by peft."""
    trainer.publish(folder, torch.float32)
    return peft.PeftModel.from_pretrained(make_pair(kind)[0], folder / "adapter", is_trainable=trainable)


def triples(rollouts):
    return [(r.prompt_ids, r.completion_ids, r.temperature) for r in rollouts]


def worst_gap(found, model, rollouts):
    """Largest difference of log-probs from those of a Hugging Face model."""
    with torch.no_grad():
        expected = [hf_logprobs(model, rollout)[0] for rollout in rollouts]
    return max((torch.tensor(f) - e).abs().max().item() for f, e in zip(found, expected, strict=True))


def plain(trainer, kind):
    """Our model with the weights that the trainer hands out, as a sampler has it."""
    model = make_pair(kind)[1]
    model.load_state_dict(dict(trainer.weights()))
    return model


@pytest.mark.parametrize("targets", ["all-linear", "attention"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_log_probs_equal_peft_on_hugging_face(kind, targets, tmp_path):
    """The published adapter loads onto Hugging Face's base and says there what the trainer says, to 1e-4."""
    trainer = make_trainer(kind, dataclasses.replace(LORA, targets=targets))
    rollouts = make_rollouts(make_pair(kind)[0])
    found = trainer.score(triples(rollouts))
    assert worst_gap(found, make_oracle(trainer, kind, tmp_path), rollouts) < 1e-4
    assert worst_gap(found, make_pair(kind)[0], rollouts) > 0.1  # else the adapters would do nothing
    assert len(trainer.layers) == 2 * (7 if targets == "all-linear" else 4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_gradient_equals_naive_autograd(kind, tmp_path):
    """Of the adapters to 1e-5, with KL against the base; the base gets none."""
    trainer = make_trainer(kind)
    theirs = make_oracle(trainer, kind, tmp_path, trainable=True)
    rollouts = make_rollouts(make_pair(kind)[0], noise=0.2)
    naive_loss(theirs, make_pair(kind)[0], rollouts, SETTINGS, True).backward()
    expected = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    reference = trainer.open_reference(tmp_path)
    found = gradients(trainer, rollouts, SETTINGS, reference=reference, stale=True)
    named = {f"base_model.model.{name.replace('.policy.', '.default.')}": grad for name, grad in found.items()}
    assert named.keys() == expected.keys() and len(named) == 2 * 2 * 7
    assert distance(named, expected) < 1e-5


@pytest.mark.parametrize("kind", CONFIGS)
def test_merged_weights_say_what_the_trainer_says(kind):
    """Before and after an update: the weights of a sampler, by checkpoint name, give the trainer's log-probs."""
    trainer = make_trainer(kind)
    rollouts = make_rollouts(make_pair(kind)[0])
    scores = []
    for _ in range(2):
        scores.append(trainer.score(triples(rollouts)))
        merged = TorchTrainer(plain(trainer, kind)).score(triples(rollouts))
        gaps = [(torch.tensor(a) - torch.tensor(b)).abs().max() for a, b in zip(scores[-1], merged, strict=True)]
        assert max(gaps) < 1e-4
        grpo_step(trainer, rollouts, dataclasses.replace(SETTINGS, kl=0.0), reference=None, stale=False, step=0)
    before, after = (torch.tensor(list(chain.from_iterable(score))) for score in scores)
    assert (before - after).abs().max() > 1e-2


def test_merged_weights_do_not_drift(tmp_path):
    """After several updates the published weights are still base + alpha / rank * B A, and the base is untouched."""
    trainer = make_trainer()
    base = dict(make_pair()[1].named_parameters())
    rollouts = make_rollouts(make_pair()[0])
    for step in range(5):
        grpo_step(trainer, rollouts, dataclasses.replace(SETTINGS, kl=0.0), reference=None, stale=False, step=step)
        dict(trainer.weights())
        trainer.publish(tmp_path, torch.bfloat16)
    published = load_file(tmp_path / "model.safetensors")
    assert published.keys() == base.keys()
    for name, weight in base.items():
        layer = name.removesuffix(".weight")
        expected = weight.double()
        if layer in trainer.layers:
            a, b = (trainer.adapters[f"{layer}.lora_{part}.weight"].double() for part in "AB")
            expected = expected + LORA.scale * b @ a
            assert not torch.equal(published[name], weight.bfloat16())
        assert (published[name].double() - expected).abs().max() <= expected.abs().max() * 2**-8, name
    for name, parameter in trainer.model.named_parameters():
        if ".lora_" not in name:
            assert torch.equal(parameter, base[name.replace(".base_layer", "")])


def test_only_adapters_have_gradients_and_optimizer_state(tmp_path):
    """The point of it: memory of gradients and moments is that of the adapters, in memory and on disk."""
    trainer = make_trainer()
    grads = gradients(trainer, make_rollouts(make_pair()[0]), SETTINGS, reference=trainer.open_reference(tmp_path))
    assert all(".lora_" in name for name in grads)
    settings = dataclasses.replace(SETTINGS, kl=0.0)
    grpo_step(trainer, make_rollouts(make_pair()[0]), settings, reference=None, stale=False, step=0)
    trainer.save(tmp_path / "trainer")
    with safe_open(tmp_path / "trainer" / "optimizer.safetensors", "pt") as file:
        assert set(file.keys()) == {f"{kind}.{name}" for kind in ("exp_avg", "exp_avg_sq") for name in trainer.adapters}
    assert sorted(path.name for path in (tmp_path / "trainer").iterdir()) == [
        "adapter.safetensors",
        "optimizer.json",
        "optimizer.safetensors",
    ]


@pytest.mark.parametrize("kind", CONFIGS)
def test_reference_is_the_base_or_an_older_step(kind, tmp_path):
    """The KL reference without a second model: adapters off, then those of a step; the policy computes as before."""
    trainer = make_trainer(kind)
    rollouts = make_rollouts(make_pair(kind)[0])
    policy = trainer.score(triples(rollouts))

    def reference_says(folder):
        view = trainer.open_reference(folder)
        columns = [r.prompt_ids for r in rollouts], [r.completion_ids for r in rollouts], [r.group for r in rollouts]
        temperatures = torch.tensor([r.temperature for r in rollouts])
        rows = list(range(len(rollouts)))
        found = trainer.logprob_table(view, *columns, temperatures, rows, 100)
        assert trainer.score(triples(rollouts)) == policy
        assert all(p.requires_grad == (".policy." in name) for name, p in trainer.model.named_parameters())
        return [part.tolist() for part in found]

    assert worst_gap(reference_says(tmp_path / "none"), make_pair(kind)[0], rollouts) < 1e-4
    for seed in (7, 8):  # the second time into adapters that are there already
        older = make_trainer(kind, seed=seed)
        oracle = make_oracle(older, kind, tmp_path / f"step{seed}")
        older.save(tmp_path / f"step{seed}" / "trainer")
        assert worst_gap(reference_says(tmp_path / f"step{seed}"), oracle, rollouts) < 1e-4
    assert worst_gap(reference_says(tmp_path / "none"), make_pair(kind)[0], rollouts) < 1e-4


def test_a_narrow_base_keeps_adapters_and_gradients_in_fp32(monkeypatch, tmp_path):
    """The CUDA path on a CPU: bf16 base under autocast; gradients near those of an fp32 base of equal weights."""
    rollouts = make_rollouts(make_pair("qwen3")[0])
    narrow, wide = make_trainer("qwen3", dtype=torch.bfloat16), make_trainer("qwen3")
    with torch.no_grad():
        for parameter in wide.model.parameters():
            if not parameter.requires_grad:
                parameter.copy_(parameter.bfloat16())
    monkeypatch.setattr(narrow, "_precision", lambda: torch.autocast("cpu", dtype=torch.bfloat16))
    flat = []
    for trainer in (narrow, wide):
        trainer.save(tmp_path / "trainer")
        reference = trainer.open_reference(tmp_path)
        grads = gradients(trainer, rollouts, SETTINGS, reference=reference)
        assert all(grad.dtype == torch.float32 for grad in grads.values())
        flat.append(torch.cat([grads[name].flatten() for name in sorted(grads)]))
    assert 1e-4 < (flat[0] - flat[1]).norm() / flat[1].norm() < 0.05
    assert {p.dtype for name, p in narrow.model.named_parameters() if ".lora_" not in name} == {torch.bfloat16}
    assert {p.dtype for name, p in narrow.model.named_parameters() if ".lora_" in name} == {torch.float32}
    for (name, found), (_, expected) in zip(narrow.weights(), wide.weights(), strict=True):
        assert torch.equal(found.float(), expected), name


def test_saved_adapters_come_back_to_the_bit(tmp_path):
    """Two updates in one trainer, or one in each of two with the files between them: the same weights and moments."""
    rollouts, settings = make_rollouts(make_pair()[0]), dataclasses.replace(SETTINGS, kl=0.0)
    trainers = [make_trainer(), make_trainer()]
    for trainer in trainers:
        grpo_step(trainer, rollouts, settings, reference=None, stale=False, step=0)
    trainers[1].save(tmp_path)
    trainers[1] = make_trainer(seed=3)
    trainers[1].load(tmp_path)
    for trainer in trainers:
        grpo_step(trainer, rollouts, settings, reference=None, stale=False, step=1)
    for state in (lambda t: t.adapters, lambda t: t.optimizer.first, lambda t: t.optimizer.second):
        for name, value in state(trainers[0]).items():
            assert torch.equal(value, state(trainers[1])[name]), name


def test_new_adapters_are_the_seed_s_and_change_nothing():
    """A run that is killed before its first save begins with the same adapters again, on any machine."""
    made = [LoraTrainer(make_pair()[1], dataclasses.replace(LORA, seed=seed)) for seed in (5, 5, 6)]
    first, again, other = (torch.cat([p.flatten() for p in t.adapters.values()]) for t in made)
    assert torch.equal(first, again) and not torch.equal(first, other)
    base = make_pair()[1]
    assert all(torch.equal(weight, dict(base.named_parameters())[name]) for name, weight in made[0].weights())
    a = made[0].adapters["model.layers.0.mlp.down_proj.lora_A.weight"]
    assert a.abs().max() <= 48**-0.5 and a.std().item() == pytest.approx((48 * 3) ** -0.5, rel=0.15)


def test_files_of_another_run_are_refused(tmp_path):
    """Adapters of another rank, or none at all: one line, and nothing changed."""
    trainer = make_trainer()
    before = {name: p.clone() for name, p in trainer.adapters.items()}
    with pytest.raises(R1Error, match="cannot read the trainer's state"):
        trainer.load(tmp_path)
    make_trainer(lora=dataclasses.replace(LORA, rank=4)).save(tmp_path)
    with pytest.raises(R1Error, match=r"lora_A.weight is \[4, 48\], expected \[3, 48\]; it belongs to another run"):
        trainer.load(tmp_path)
    assert all(torch.equal(p, before[name]) for name, p in trainer.adapters.items())


def test_frozen_head_gets_no_gradient(monkeypatch):
    """Of a vocabulary of 150,000 that would be the largest tensor of all, made only to be thrown away."""
    theirs, ours = make_pair("qwen3")
    made, zeros_like = [], torch.zeros_like
    monkeypatch.setattr(torch, "zeros_like", lambda *a, **k: made.append(a[0].shape) or zeros_like(*a, **k))
    head = ours.head_weight.shape
    gradients(make_trainer("qwen3"), make_rollouts(theirs), dataclasses.replace(SETTINGS, kl=0.0))
    assert made and head not in made
    gradients(TorchTrainer(ours), make_rollouts(theirs), dataclasses.replace(SETTINGS, kl=0.0))
    assert head in made
