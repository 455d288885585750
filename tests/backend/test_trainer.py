"""The gradient, the invariants of an update, and the bookkeeping around it."""

import dataclasses
import math

import pytest
import torch
from trainer_oracle import CONFIGS, distance, gradients, hf_logprobs, make_pair, make_rollouts, naive_loss

from r1cli.algorithms.settings import GrpoSettings
from r1cli.backend import trainer_torch
from r1cli.backend.grpo import grpo_step
from r1cli.backend.logprobs import token_logprobs
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.errors import InputError, R1Error

FREE = GrpoSettings(kl=0.0, lr=1e-3)
LOSSES = ("grpo", "r1", "gspo", "gspo-token", "cispo")


def perturb(model: torch.nn.Module, size: float, seed: int = 5) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * size)


def make_reference(kind: str = "qwen2"):
    """A slightly different policy, as Hugging Face and as ours."""
    theirs, ours = make_pair(kind)
    perturb(theirs, 0.01)
    weights = theirs.state_dict()
    ours.load_state_dict({name: weights[name] for name in ours.state_dict()})
    return theirs, ours


def compare(kind: str, settings: GrpoSettings, stale: bool, noise: float) -> float:
    theirs, ours = make_pair(kind)
    their_reference, reference = make_reference(kind)
    rollouts = make_rollouts(theirs, noise=noise)
    naive_loss(theirs, their_reference, rollouts, settings, stale).backward()
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    found = gradients(TorchTrainer(ours), rollouts, settings, reference=reference, stale=stale)
    return distance(found, expected)


@pytest.mark.parametrize("normalize", ["sequence", "token", "constant"])
@pytest.mark.parametrize("loss", LOSSES)
def test_stale_gradient_equals_naive_autograd(loss, normalize):
    """Every loss and normalisation off policy, with clipping in force, KL and entropy on."""
    settings = GrpoSettings(loss=loss, normalize=normalize, clip_low=0.2, clip_high=0.2, kl=0.1, entropy=0.01)
    assert compare("qwen2", settings, stale=True, noise=0.2) < 1e-5


@pytest.mark.parametrize("normalize", ["sequence", "token", "constant"])
@pytest.mark.parametrize("loss", LOSSES)
def test_corrected_gradient_equals_naive_autograd(loss, normalize):
    """The same on policy, with the sampler's mismatch corrected by truncated importance sampling."""
    settings = GrpoSettings(loss=loss, normalize=normalize, kl=0.1, correction="token-truncate", correction_max=1.1)
    assert compare("qwen2", settings, stale=False, noise=0.2) < 1e-5


@pytest.mark.parametrize("kind", CONFIGS)
def test_gradient_equals_naive_autograd_for_every_architecture(kind):
    assert compare(kind, GrpoSettings(kl=0.1), stale=False, noise=0.0) < 1e-5


@pytest.mark.parametrize("micro_tokens", [1, 30, 70, 150])
def test_gradient_does_not_depend_on_micro_batches(micro_tokens):
    """From one sequence per micro-batch up to a few; also the metrics, which must not be means of means."""
    theirs, _ = make_pair()
    _, reference = make_reference()
    rollouts = make_rollouts(theirs, groups=5, noise=0.1)
    settings = GrpoSettings(kl=0.1, normalize="token", entropy=0.01, clip_high=0.2)
    results = []
    for budget in (10**6, micro_tokens):
        trainer = TorchTrainer(make_pair()[1])
        chosen = dataclasses.replace(settings, micro_tokens=budget)
        grads = gradients(trainer, rollouts, chosen, reference=reference, stale=True)
        results.append((grads, grpo_step(trainer, rollouts, chosen, reference=reference, stale=True, step=0)[0]))
    assert distance(results[1][0], results[0][0]) < 1e-5
    for name in ("loss", "kl", "entropy", "clip_fraction", "ratio_max", "logprob_gap_mean", "grad_norm", "weights_sum"):
        assert results[1][1][name] == pytest.approx(results[0][1][name], rel=1e-4), name


def test_gradient_checkpointing_changes_nothing():
    theirs, ours = make_pair()
    rollouts = make_rollouts(theirs)
    plain = gradients(TorchTrainer(ours), rollouts, FREE)
    ours.checkpoint_layers = True
    assert distance(gradients(TorchTrainer(ours), rollouts, FREE), plain) < 1e-6


def test_mixed_precision_keeps_fp32_gradients_near_the_exact_ones(monkeypatch):
    """The CUDA path on CPU: bf16 products, fp32 weights, gradients and log-probs."""
    theirs, ours = make_pair("qwen3")
    rollouts = make_rollouts(theirs)
    exact = gradients(TorchTrainer(ours), rollouts, FREE)
    trainer = TorchTrainer(ours)
    monkeypatch.setattr(trainer, "_precision", lambda: torch.autocast("cpu", dtype=torch.bfloat16))
    found = gradients(trainer, rollouts, FREE)
    assert all(grad.dtype == torch.float32 for grad in found.values())
    flat = [torch.cat([grad.flatten() for grad in grads.values()]) for grads in (found, exact)]
    assert 1e-4 < (flat[0] - flat[1]).norm() / flat[1].norm() < 0.05


def test_equal_rewards_give_exactly_zero_gradient_and_still_metrics():
    """0.1 has no exact mean in floats, so a formula without an explicit test would leave a residue."""
    theirs, ours = make_pair()
    rollouts = [dataclasses.replace(r, reward=0.1) for r in make_rollouts(theirs)]
    trainer = TorchTrainer(ours)
    assert all(not grad.any() for grad in gradients(trainer, rollouts, FREE).values())
    metrics = grpo_step(trainer, rollouts, FREE, reference=None, stale=False, step=0)[0]
    assert metrics["grad_norm"] == 0 and metrics["zero_variance"] == 1 and metrics["loss"] == 0
    assert metrics["logprob_gap_max"] < 1e-5 and metrics["entropy"] > 0 and trainer.optimizer.steps == 1


def test_groups_without_signal_run_forward_only(monkeypatch):
    """Protects the saving: two thirds of the work of an equal group, whose metrics are still wanted."""
    theirs, ours = make_pair()
    rollouts = [dataclasses.replace(r, reward=1.0 if r.group else r.reward) for r in make_rollouts(theirs)]
    trainer, seen = TorchTrainer(ours), []

    def spy(model, micro, temperatures):
        seen.append((torch.is_grad_enabled(), {rollouts[row].group for row in micro.sequences}))
        return token_logprobs(model, micro, temperatures)

    monkeypatch.setattr(trainer_torch, "token_logprobs", spy)
    found = grpo_step(trainer, rollouts, FREE, reference=None, stale=False, step=0)[0]
    assert seen == [(True, {0}), (False, {1, 2})]
    assert found["tokens"] == sum(len(r.completion_ids) for r in rollouts)


def test_clipping_bounds_what_adam_sees_but_not_what_is_reported():
    theirs, ours = make_pair()
    trainer = TorchTrainer(ours)
    settings = dataclasses.replace(FREE, grad_clip=1e-3)
    found = grpo_step(trainer, make_rollouts(theirs), settings, reference=None, stale=False, step=0)[0]
    moments = torch.cat([value.flatten() for value in trainer.optimizer.first.values()])
    assert found["grad_norm"] > 0.01
    assert moments.norm().item() / (1 - settings.beta1) == pytest.approx(1e-3, rel=1e-3)


def test_a_zero_gradient_still_steps_momentum():
    """The documented choice: the update happens, and Adam's first moment moves the weights on."""
    theirs, ours = make_pair()
    rollouts = make_rollouts(theirs)
    trainer = TorchTrainer(ours)
    grpo_step(trainer, rollouts, FREE, reference=None, stale=False, step=0)
    before = {name: p.clone() for name, p in ours.named_parameters()}
    grpo_step(
        trainer, [dataclasses.replace(r, reward=1.0) for r in rollouts], FREE, reference=None, stale=False, step=1
    )
    assert all((p != before[name]).any() for name, p in ours.named_parameters() if "k_proj.bias" not in name)


def test_on_policy_ratio_is_one_and_metrics_are_plain():
    theirs, ours = make_pair()
    _, reference = make_reference()
    rollouts = make_rollouts(theirs)
    rollouts[0].rewards = {"accuracy": 1.0, "language": None}
    metrics = grpo_step(TorchTrainer(ours), rollouts, GrpoSettings(), reference=reference, stale=False, step=7)
    assert len(metrics) == 1 and metrics[0]["step"] == 8
    found = metrics[0]
    assert found["ratio_mean"] == found["ratio_max"] == 1 and found["ratio_deviation"] == 0
    assert found["logprob_gap_max"] < 1e-5 and found["kl"] > 0 and found["weights_sum"] == pytest.approx(1)
    assert (
        found["length_mean"] == sum(len(r.completion_ids) for r in rollouts) / 12
        and found["rewards"]["language"] is None
    )
    assert found["truncated"] == sum(r.finish == "length" for r in rollouts) / 12 and found["failed"] == 0
    assert found["reward"] == pytest.approx(sum(r.reward for r in rollouts) / 12)
    for name, value in found.items():
        assert value is None or type(value) in (int, float, dict), name


def test_advantages_come_from_before_the_split():
    """A minibatch holds fragments of groups: its gradient must use the whole groups' means."""
    theirs, ours = make_pair()
    rollouts = make_rollouts(theirs, groups=2, size=4)
    settings = dataclasses.replace(FREE, minibatches=8)
    metrics = grpo_step(TorchTrainer(ours), rollouts, settings, reference=None, stale=False, step=0)
    # One rollout each: advantages made after the split would all be zero.
    assert len(metrics) == 8 and all(found["grad_norm"] > 0 for found in metrics)
    assert [found["step"] for found in metrics] == list(range(1, 9))
    assert sum(found["reward"] for found in metrics) == pytest.approx(sum(r.reward for r in rollouts))


def test_old_logprobs_are_true_over_minibatches_and_epochs():
    """The second update must see the policy of before the first one, not its own and not the sampler's noisy
    numbers.
    """
    theirs, ours = make_pair()
    rollouts = make_rollouts(theirs, noise=0.5)
    settings = dataclasses.replace(FREE, epochs=2)
    first, second = grpo_step(TorchTrainer(ours), rollouts, settings, reference=None, stale=False, step=0)
    assert first["ratio_deviation"] < 1e-5 and second["ratio_deviation"] > 1e-3
    moved = make_pair()[1]
    grpo_step(TorchTrainer(moved), rollouts, FREE, reference=None, stale=False, step=0)
    now = TorchTrainer(moved).score([(r.prompt_ids, r.completion_ids, r.temperature) for r in rollouts])
    worst = 0.0
    for rollout, values in zip(rollouts, now, strict=True):
        ratio = (torch.tensor(values) - hf_logprobs(theirs, rollout)[0]).exp()
        worst = max(worst, (ratio - 1).abs().max().item())
    assert second["ratio_deviation"] == pytest.approx(worst, rel=1e-3)


@pytest.mark.parametrize(
    ("choice", "stale", "fresh"), [("auto", True, False), ("sampler", False, False), ("trainer", True, True)]
)
def test_whose_old_logprobs(choice, stale, fresh):
    theirs, ours = make_pair()
    rollouts = make_rollouts(theirs, noise=0.3)
    settings = dataclasses.replace(FREE, old_logprobs=choice)
    found = grpo_step(TorchTrainer(ours), rollouts, settings, reference=None, stale=stale, step=0)[0]
    assert (found["ratio_deviation"] == 0) == fresh
    # Whatever old is, the gap compares engines and so sees the noise.
    assert found["logprob_gap_mean"] > 0.1


def test_failed_and_dropped_rollouts_teach_nothing():
    """Failed ones leave the statistics, dropped ones stay in them; neither gives a gradient."""
    theirs, ours = make_pair()
    rollouts = make_rollouts(theirs)
    settings = dataclasses.replace(FREE, normalize="constant", normalize_constant=10.0)
    without = gradients(TorchTrainer(ours), [r for i, r in enumerate(rollouts) if i not in (1, 2)], settings)
    for broken in (None, math.nan):
        failed = [dataclasses.replace(r, reward=broken) if i in (1, 2) else r for i, r in enumerate(rollouts)]
        # A failed one still counts among the sequences that the loss is a mean over.
        found = gradients(TorchTrainer(ours), failed, settings)
        assert distance({name: grad * 12 / 10 for name, grad in found.items()}, without) < 1e-5
        assert (
            grpo_step(TorchTrainer(make_pair()[1]), failed, FREE, reference=None, stale=False, step=0)[0]["failed"] == 2
        )
    dropped = [dataclasses.replace(r, dropped=i in (1, 2)) for i, r in enumerate(rollouts)]
    trainer = TorchTrainer(ours)
    assert distance(gradients(trainer, dropped, settings), without) > 0.01
    changed = [dataclasses.replace(r, completion_ids=[3], logprobs=[-1.0]) if r.dropped else r for r in dropped]
    assert distance(gradients(trainer, changed, settings), gradients(trainer, dropped, settings)) == 0


def test_nothing_trained_is_reported_and_not_divided_by():
    theirs, ours = make_pair()
    rollouts = [dataclasses.replace(r, dropped=True) for r in make_rollouts(theirs)]
    found = grpo_step(TorchTrainer(ours), rollouts, FREE, reference=None, stale=False, step=0)[0]
    assert found["tokens"] == 0 and found["grad_norm"] == 0 and found["entropy"] is None and found["reward"] is not None


def test_overlong_punishment_enters_the_advantage():
    theirs, ours = make_pair()
    rollouts = [dataclasses.replace(r, reward=1.0) for r in make_rollouts(theirs)]
    settings = dataclasses.replace(FREE, overlong_cache=16)
    found = grpo_step(TorchTrainer(ours), rollouts, settings, reference=None, stale=False, step=0)[0]
    assert found["grad_norm"] > 0 and found["zero_variance"] == 0 and found["reward"] == 1


def test_non_finite_gradient_leaves_everything_untouched():
    theirs, ours = make_pair()
    rollouts = make_rollouts(theirs)
    trainer = TorchTrainer(ours)
    grpo_step(trainer, rollouts, FREE, reference=None, stale=False, step=0)
    with torch.no_grad():
        ours.model.norm.weight[0] = math.inf
    before = {name: p.clone() for name, p in ours.named_parameters()}
    moments = {name: value.clone() for name, value in trainer.optimizer.first.items()}
    called = []
    with pytest.raises(R1Error, match="gradient norm nan, expected finite"):
        grpo_step(trainer, rollouts, FREE, reference=None, stale=False, step=1, on_update=lambda: called.append(1))
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in ours.named_parameters())
    assert all(torch.equal(value, moments[name]) for name, value in trainer.optimizer.first.items())
    assert trainer.optimizer.steps == 1 and not called


def test_cancelling_before_the_first_update_changes_nothing():
    theirs, ours = make_pair()
    before = {name: p.clone() for name, p in ours.named_parameters()}
    trainer = TorchTrainer(ours)
    gradients(trainer, make_rollouts(theirs), dataclasses.replace(FREE, minibatches=3))
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in ours.named_parameters())
    assert trainer.optimizer.steps == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 0.0}, "temperature 0.0 has no log-probs"),
        ({"logprobs": [-1.0]}, "1 logprobs for"),
        ({"logprobs": []}, "no log-probs of their sampler"),
        ({"completion_ids": []}, "completion has no tokens"),
        ({"prompt_ids": [1, 2, 3]}, "prompt_ids differ"),
        ({"reward": math.inf}, "reward is inf"),
    ],
)
def test_bad_rollouts_are_refused_in_one_line(change, words):
    theirs, ours = make_pair()
    rollouts = make_rollouts(theirs, seed=1)
    long = next(i for i, r in enumerate(rollouts) if len(r.completion_ids) > 1)
    rollouts[long] = dataclasses.replace(rollouts[long], **change)
    with pytest.raises(InputError, match=words) as caught:
        grpo_step(TorchTrainer(ours), rollouts, FREE, reference=None, stale=True, step=0)
    assert "\n" not in str(caught.value)
