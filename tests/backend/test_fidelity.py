"""Torch sampler and trainer against Hugging Face in fp32 and bf16, on three families, before and after an update."""

import fidelity
import pytest
from sampling_work import groups, run

from r1cli.backend.sampler_torch import TorchSampler
from r1cli.backend.tokenizer import Tokenizer


@pytest.mark.parametrize("dtype", fidelity.LIMITS, ids=str)
@pytest.mark.parametrize("kind", fidelity.SIZES)
def test_logprobs_of_sampler_and_trainer_are_the_models(tmp_path, kind, dtype):
    """Sampler and trainer each say what the weights say, also when these have just been changed under them."""
    subject = fidelity.subject(tmp_path, kind, dtype)
    sampler = TorchSampler(subject.model, Tokenizer.load(tmp_path), slots=32)
    limit, work = fidelity.LIMITS[dtype], groups()
    before = run(sampler, work)
    gaps = subject.gaps(work, before)
    print(kind, dtype, "before", gaps)
    assert max(gaps.values()) < limit
    subject.update()
    assert subject.gaps(work, before)["sampler"] > 10 * limit, "the update is too small to tell old from new"
    gaps = subject.gaps(work, run(sampler, work))
    print(kind, dtype, "after", gaps)
    assert max(gaps.values()) < limit
