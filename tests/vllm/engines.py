"""What the tests of the vLLM sampler share: a checkpoint with its oracle, our model and a sampler."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
import torch
from fidelity import SIZES

from r1cli.backend.checkpoint import load_model
from r1cli.backend.model import Transformer
from r1cli.backend.sampler_vllm import VllmSampler
from r1cli.backend.sampling import Group, Sample
from r1cli.backend.tokenizer import Tokenizer


@dataclass
class Bench:
    """One checkpoint in three hands."""

    oracle: Any
    model: Transformer
    tokenizer: Tokenizer
    sampler: VllmSampler

    def expected(self, group: Group, sample: Sample) -> torch.Tensor:
        """Hugging Face's log-probabilities [len(sample.ids), V]."""
        with torch.no_grad():
            logits = self.oracle(torch.tensor([group.prompt_ids + sample.ids])).logits[
                0, len(group.prompt_ids) - 1 : -1
            ]
        return (logits / (group.params.temperature or 1)).log_softmax(-1)

    def gap(self, group: Group, sample: Sample) -> float:
        """Largest difference between the sampler's log-probabilities and Hugging Face's."""
        expected = self.expected(group, sample)[torch.arange(len(sample.ids)), sample.ids]
        return (expected - torch.from_numpy(sample.logprobs)).abs().max().item()

    def worst(self, work: list[Group], done: dict[object, list[Sample]]) -> float:
        """The largest gap of all samples."""
        return max(self.gap(group, sample) for group in work for sample in done[group.key])

    def update(self, seed: int = 1, size: float = 0.3) -> None:
        """A large update of oracle and model in place, as an optimizer makes it: every weight moves."""
        generator = torch.Generator().manual_seed(seed)
        theirs = dict(self.oracle.named_parameters())
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                change = torch.randn(parameter.shape, generator=generator) * parameter.std().nan_to_num(1.0) * size
                parameter.add_(change)
                theirs[name].copy_(parameter)


def build(folder: Path, kind: str, *, slots: int = 32, **options: Any) -> Bench:
    """A random checkpoint and a sampler with these options; its engine starts with the first sample."""
    # Tied random matrices scaled up see little but the token itself.
    oracle = models.write_checkpoint(folder, kind, scale=1.5 if kind == "qwen2" else 3.0, **SIZES[kind])
    model = load_model(folder, dtype=torch.float32, device="cpu")
    tokenizer = Tokenizer.load(folder)
    return Bench(oracle, model, tokenizer, VllmSampler(model, tokenizer, folder, slots=slots, **options))
