"""What only a card can show: bf16 kernels, autocast, the head's memory, and the pipe with sampler and trainer on it.

Collected where there is an NVIDIA device. With vLLM installed its own tests (tests/vllm) run there too.
"""

import json

import models
import pytest
import torch
from conftest import run_r1, shell
from residents import kill_backend, status
from sampling_work import groups, run
from trainer_oracle import gradients, make_pair, make_rollouts

from r1cli.algorithms.settings import GrpoSettings
from r1cli.backend.checkpoint import load_model
from r1cli.backend.logprobs import HeadLogProbs
from r1cli.backend.sampler_torch import TorchSampler
from r1cli.backend.tokenizer import Tokenizer
from r1cli.backend.trainer_torch import TorchTrainer

pytestmark = pytest.mark.gpu
CARD = torch.device("cuda")
KINDS = ("qwen2", "qwen3", "llama")


def gap(oracle, work, done) -> float:
    """Largest difference between samples' log-probs and those of a Hugging Face model on the CPU in fp32."""
    worst = 0.0
    for group in work:
        for sample in done[group.key]:
            with torch.no_grad():
                logits = oracle(torch.tensor([group.prompt_ids + sample.ids])).logits[0, len(group.prompt_ids) - 1 : -1]
            expected = (logits / group.params.temperature).log_softmax(-1)[torch.arange(len(sample.ids)), sample.ids]
            worst = max(worst, (expected - torch.from_numpy(sample.logprobs)).abs().max().item())
    return worst


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
def test_the_sampler_says_what_hugging_face_says(tmp_path, kind, dtype, bound):
    """Before and after an update in place, in the precision of tests and in that of sampling."""
    oracle = models.write_checkpoint(tmp_path, kind, scale=1.0)
    policy = load_model(tmp_path, dtype=dtype, device=CARD)
    sampler, work = TorchSampler(policy, Tokenizer.load(tmp_path), slots=16), groups()
    assert gap(oracle, work, run(sampler, work)) < bound
    theirs = dict(oracle.named_parameters())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            change = torch.randn(parameter.shape, generator=generator) * 0.02
            theirs[name].copy_((theirs[name] + change).to(dtype))
            parameter.copy_(theirs[name])
    assert gap(oracle, work, run(sampler, work)) < bound


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_under_autocast_is_near_the_exact_one(kind):
    """bf16 products over fp32 weights: the direction stays, gradients are fp32."""
    theirs, ours = make_pair(kind)
    rollouts, settings = make_rollouts(theirs), GrpoSettings(kl=0.0)
    exact = gradients(TorchTrainer(ours), rollouts, settings)
    found = gradients(TorchTrainer(make_pair(kind)[1], device=CARD), rollouts, settings)
    assert all(value.dtype == torch.float32 for value in found.values())
    flat = [torch.cat([value.cpu().flatten() for value in side.values()]) for side in (found, exact)]
    assert (flat[0] - flat[1]).norm() / flat[1].norm() < 0.05


def test_the_head_of_a_large_vocabulary_stays_small():
    """151,936 tokens and 8,192 positions: at most 500 MB over weight, its gradient and the hidden states."""
    hidden = torch.randn(8192, 1024, device=CARD, dtype=torch.bfloat16, requires_grad=True)
    weight = (torch.randn(151936, 1024, device=CARD) * 0.02).requires_grad_()
    targets, scale = torch.randint(151936, (8192,), device=CARD), torch.ones(8192, device=CARD)
    own = weight.numel() * (4 + 4 + 2) + hidden.numel() * 2 * 2  # weight, gradient, bf16 copy; hidden and its gradient
    torch.cuda.reset_peak_memory_stats()
    logp, entropy = HeadLogProbs.apply(hidden, weight, targets, scale, 2**24)
    (logp.mean() + entropy.mean()).backward()
    assert torch.cuda.max_memory_allocated() - own < 500e6


@pytest.mark.parametrize("sampler", ["auto", "torch"])
def test_the_pipe_trains_on_the_card_and_goes_on_after_a_kill(tmp_path, sampler):
    """The README's loop with bf16 sampling and fp32 masters: the two agree, steps are saved, a restart goes on."""
    ckpt = tmp_path / "run"
    run_r1("init", ckpt, "--from", "tiny", check=0)
    loop = "r1 sample -q run | r1 reward -q --format --accuracy | r1 grpo-step -q"
    for first in (1, 4):
        run_r1("serve", ckpt, "--detach", "--device", "cuda", "--sampler", sampler, check=0, timeout=600)
        assert status(ckpt)["device"].startswith("cuda")
        done = shell(f"set -euo pipefail; for i in 1 2 3; do {loop}; done", cwd=tmp_path, timeout=600)
        assert done.returncode == 0, done.stderr
        updates = [json.loads(line) for line in done.stdout.splitlines()]
        assert [update["step"] for update in updates] == [first, first + 1, first + 2]
        assert all(update["logprob_gap_mean"] < 0.02 and update["grad_norm"] > 0 for update in updates)
        kill_backend(ckpt)
