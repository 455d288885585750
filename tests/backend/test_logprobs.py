"""Log-probabilities against Hugging Face and against the definition, in time and in memory."""

import dataclasses
import random

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from trainer_oracle import CONFIGS, distance, gradients, hf_logprobs, make_pair, make_rollouts

from r1cli.algorithms.settings import GrpoSettings
from r1cli.backend import logprobs
from r1cli.backend.logprobs import LIMITS, HeadLogProbs, Limits
from r1cli.backend.model import Transformer
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.errors import InputError


@pytest.mark.parametrize("kind", CONFIGS)
def test_score_equals_hugging_face_on_ragged_groups(kind):
    theirs, ours = make_pair(kind)
    rollouts = make_rollouts(theirs, groups=4, size=5)
    random.Random(1).shuffle(rollouts)
    found = TorchTrainer(ours).score([(r.prompt_ids, r.completion_ids, r.temperature) for r in rollouts])
    for rollout, values in zip(rollouts, found, strict=True):
        assert torch.allclose(torch.tensor(values), hf_logprobs(theirs, rollout)[0], atol=1e-5)


def test_long_sequences_take_the_causal_layout_and_agree():
    """Protects the layout that only completions over 256 tokens reach."""
    theirs, ours = make_pair("qwen3")
    rollouts = make_rollouts(theirs, groups=2, size=3, longest=500, seed=3)
    assert max(len(r.completion_ids) for r in rollouts) > 300
    found = TorchTrainer(ours).score([(r.prompt_ids, r.completion_ids, r.temperature) for r in rollouts])
    for rollout, values in zip(rollouts, found, strict=True):
        assert torch.allclose(torch.tensor(values), hf_logprobs(theirs, rollout)[0], atol=1e-5)


def test_score_gives_each_row_its_own_temperature_and_nothing_for_nothing():
    theirs, ours = make_pair()
    rollout = make_rollouts(theirs, groups=1, size=1)[0]
    trainer = TorchTrainer(ours)
    prompt, ids = rollout.prompt_ids, rollout.completion_ids
    cold, warm, empty = trainer.score([(prompt, ids, 0.5), (prompt, ids, 2.0), (prompt, [], 1.0)])
    assert cold != warm and empty == []
    assert warm == trainer.score([(prompt, ids, 2.0)])[0]


@pytest.mark.parametrize(("prompt", "temperature"), [([], 1.0), ([1], 0.0), ([1], float("nan"))])
def test_score_refuses_what_has_no_logprobs(prompt, temperature):
    with pytest.raises(InputError, match="sequence 0"):
        TorchTrainer(make_pair()[1]).score([(prompt, [1], temperature)])


def head_inputs(rows=7, size=5, vocabulary=11, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, size, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(vocabulary, size, generator=generator, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, vocabulary, (rows,), generator=generator)
    scale = torch.rand(rows, generator=generator, dtype=dtype) + 0.5
    return hidden, weight, targets, scale


@pytest.mark.parametrize("elements", [1, 33, 10**6])
def test_written_gradient_is_the_numerical_one(elements):
    """Protects both hand-written derivatives, whole and in chunks."""
    for kept in (0, 10**6):
        limits = Limits(elements, kept)
        assert torch.autograd.gradcheck(lambda *xs: HeadLogProbs.apply(*xs, limits, False), head_inputs())  # noqa: B023


@pytest.mark.parametrize("output", [0, 1])
def test_one_output_alone_gives_its_gradient(output):
    assert torch.autograd.gradcheck(lambda *xs: HeadLogProbs.apply(*xs, Limits(33, 0), False)[output], head_inputs())


def test_chunked_head_equals_whole_head():
    results = []
    for limits in (Limits(11 * 3, 0), Limits(11 * 3, 10**6), Limits(10**6, 10**6)):
        inputs = head_inputs(dtype=torch.float32)
        logp, entropy = HeadLogProbs.apply(*inputs, limits, False)
        (logp.sum() + entropy.square().sum()).backward()
        results.append((logp, entropy, inputs[0].grad, inputs[1].grad))
    for chunked, kept, whole in zip(*results, strict=True):
        assert torch.allclose(chunked, whole, atol=1e-5) and torch.allclose(kept, whole, atol=1e-5)


def test_probabilities_that_underflow_give_no_nan():
    hidden = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    inputs = hidden, torch.tensor([[1.0], [0.0]]), torch.tensor([1, 0]), torch.ones(2)
    logp, entropy = HeadLogProbs.apply(*inputs, LIMITS, False)
    (logp + entropy).sum().backward()
    assert logp.tolist() == [-1000.0, -1000.0] and entropy.tolist() == [0.0, 0.0] and hidden.grad.isfinite().all()


def test_head_adds_its_gradient_where_there_is_one():
    """Protects the sum over micro-batches, for a head of its own and for one that is the embedding too, and a frozen
    one.
    """
    hidden, weight, targets, scale = head_inputs()
    logp, entropy = HeadLogProbs.apply(hidden, weight, targets, scale, Limits(33, 0), False)
    (logp.sum() + entropy.sum()).backward()
    expected = 2 * weight.grad
    weight.grad = None
    for _ in range(2):
        logp, entropy = HeadLogProbs.apply(hidden, weight, targets, scale, Limits(33, 0), True)
        (logp.sum() + entropy.sum()).backward()
    assert torch.allclose(weight.grad, expected)
    frozen = weight.detach()
    HeadLogProbs.apply(hidden, frozen, targets, scale, Limits(33, 0), True)[0].sum().backward()
    assert frozen.grad is None


@pytest.mark.parametrize("kind", CONFIGS)
def test_direct_gradients_are_those_of_autograd(kind):
    """Protects tied embeddings, whose gradient has two sources, over several micro-batches."""
    theirs, ours = make_pair(kind)
    rollouts = make_rollouts(theirs, groups=4, size=4)
    found = []
    for direct in (False, True):
        trainer = TorchTrainer(ours)
        trainer.model.direct_gradients = direct
        found.append(gradients(trainer, rollouts, GrpoSettings(kl=0.0, micro_tokens=40)))
    assert distance(found[1], found[0]) < 1e-6


class LargestOutput(TorchDispatchMode):
    """Remembers the most elements any operator put out."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.untyped_storage().nbytes() // value.element_size())
        return out


def test_tokens_by_vocabulary_never_exists(monkeypatch):
    """Protects the memory of long batches with a large vocabulary, through a whole update: reference, forward,
    backward.
    """
    theirs, ours = make_pair()
    rollouts = make_rollouts(theirs, groups=6, size=8)
    config = dataclasses.replace(ours.config, vocab_size=4000)
    policy, reference = Transformer(config), Transformer(config)
    whole = sum(len(r.completion_ids) for r in rollouts) * config.vocab_size
    largest = {}
    for elements in (whole // 8, 2 * whole):
        monkeypatch.setattr(logprobs, "LIMITS", Limits(elements, elements))
        with LargestOutput() as mode:
            gradients(TorchTrainer(policy), rollouts, GrpoSettings(entropy=0.01), reference=reference)
        largest[elements] = mode.elements
    # The second number shows that the first one is measured where the matrix would be.
    assert largest[whole // 8] <= whole / 8 < whole <= largest[2 * whole]
