"""vLLM and our trainer against Hugging Face in bf16, on three families, before and after an update."""

import fidelity
import pytest
import torch
from sampling_work import groups, run

from r1cli.backend.sampler_vllm import VllmSampler
from r1cli.backend.tokenizer import Tokenizer


@pytest.mark.parametrize("kind", fidelity.SIZES)
def test_logprobs_of_vllm_are_the_models_in_bf16(tmp_path, kind):
    """What a GPU computes in; fp32 is test_vllm_weights.py's."""
    subject = fidelity.subject(tmp_path, kind, torch.bfloat16)
    sampler = VllmSampler(subject.model, Tokenizer.load(tmp_path), tmp_path, slots=32)
    limit, work = fidelity.LIMITS[torch.bfloat16], groups()
    try:
        before = run(sampler, work)
        gaps = subject.gaps(work, before)
        print(kind, "before", gaps)
        assert max(gaps.values()) < limit
        subject.update()
        assert subject.gaps(work, before)["sampler"] > 10 * limit, "the update is too small to tell old from new"
        assert sampler.sync() < limit
        gaps = subject.gaps(work, run(sampler, work))
        print(kind, "after", gaps)
        assert max(gaps.values()) < limit
    finally:
        sampler.close()
