"""AdamW against torch's own, and a resume that cannot be told from going straight on."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from trainer_oracle import make_pair, make_rollouts

from r1cli.algorithms.settings import GrpoSettings
from r1cli.backend.grpo import grpo_step
from r1cli.backend.optimizer_state import AdamW
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.errors import R1Error

SETTINGS = GrpoSettings(kl=0.0, lr=1e-3, weight_decay=0.1, minibatches=2)


def test_updates_equal_torch_adamw():
    """Weights move as torch.optim.AdamW moves them, with weight decay on matrices only."""
    generator = torch.Generator().manual_seed(0)
    start = {"matrix": torch.randn(4, 3, generator=generator), "norm": torch.randn(3, generator=generator)}
    mine = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
    torchs = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
    ours = AdamW(mine.items())
    groups = [{"params": [torchs["matrix"]], "weight_decay": 0.1}, {"params": [torchs["norm"]], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.95), eps=1e-6)
    for _ in range(20):
        for name in start:
            grad = torch.randn(start[name].shape, generator=generator)
            mine[name].grad, torchs[name].grad = grad.clone(), grad.clone()
        ours.update(lr=0.01, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.1)
        theirs.step()
    for name in start:
        assert torch.allclose(mine[name], torchs[name], rtol=1e-6, atol=1e-7)


STEP = """
import sys, torch
from r1cli.backend.optimizer_state import AdamW
weight = torch.nn.Parameter(torch.ones(2, 2))
optimizer = AdamW([("weight", weight)])
(weight ** 2).sum().backward()
optimizer.update(lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0)
assert weight[0, 0] < 1
sys.exit("torch._dynamo" in sys.modules)
"""


def test_an_update_does_not_load_the_compiler():
    """Protects short processes: torch.optim would cost each a second."""
    assert subprocess.run([sys.executable, "-c", STEP], timeout=120).returncode == 0


def test_resume_is_bit_exact(tmp_path):
    """Save, load into a fresh process' worth of objects, step: the same bits as stepping straight on."""
    theirs, straight = make_pair()
    rollouts = make_rollouts(theirs)
    going = TorchTrainer(straight)
    grpo_step(going, rollouts, SETTINGS, reference=None, stale=False, step=0)
    going.save(tmp_path / "trainer")
    resumed = TorchTrainer(make_pair(seed=1)[1])
    resumed.load(tmp_path / "trainer")
    names = {path.name for path in (tmp_path / "trainer").iterdir()}
    assert names == {"optimizer.safetensors", "optimizer.json", "master.safetensors"}
    metrics = [grpo_step(t, rollouts, SETTINGS, reference=None, stale=False, step=2) for t in (going, resumed)]
    for one, other in zip(*metrics, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    for (name, one), other in zip(straight.named_parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other), name
        for moments in ("first", "second"):
            assert torch.equal(getattr(going.optimizer, moments)[name], getattr(resumed.optimizer, moments)[name])


def test_a_trainer_that_never_stepped_can_be_saved(tmp_path):
    _, ours = make_pair()
    TorchTrainer(ours).save(tmp_path)
    fresh = TorchTrainer(make_pair(seed=1)[1])
    fresh.load(tmp_path)
    assert fresh.optimizer.steps == 0
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), fresh.model.parameters(), strict=True))


@pytest.mark.parametrize("name", ["optimizer.safetensors", "optimizer.json", "master.safetensors"])
def test_missing_or_torn_state_is_one_error(tmp_path, name):
    trainer = TorchTrainer(make_pair()[1])
    trainer.save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(R1Error, match="cannot read"):
        trainer.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(R1Error, match="cannot read"):
        trainer.load(tmp_path)


def test_state_of_another_model_is_refused_and_changes_nothing(tmp_path):
    TorchTrainer(make_pair("qwen2")[1]).save(tmp_path)
    trainer = TorchTrainer(make_pair("llama")[1])
    before = [p.clone() for p in trainer.model.parameters()]
    with pytest.raises(R1Error, match="another run"):
        trainer.load(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))


def test_the_same_batch_gives_the_same_bits_twice():
    """Minibatch order comes from seed and step alone; another seed gives another split."""
    theirs, _ = make_pair()
    rollouts = make_rollouts(theirs)
    ends = []
    for seed in (0, 0, 1):
        trainer = TorchTrainer(make_pair()[1])
        settings = dataclasses.replace(SETTINGS, shuffle_seed=seed)
        grpo_step(trainer, rollouts, settings, reference=None, stale=False, step=4)
        ends.append(trainer.model.head_weight.detach())
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])
