"""What the tests of fidelity share: a random checkpoint in one precision, Hugging Face's word on it, and an update.

The oracle is Hugging Face's model in fp32 with the very weights of ours: what is measured is our own rounding, without
Hugging Face's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
import torch
from sampling_work import oracle_logprobs

from r1cli.backend.checkpoint import load_model
from r1cli.backend.model import Transformer
from r1cli.backend.sampling import Group, Sample
from r1cli.backend.trainer_torch import TorchTrainer

# Largest difference of a log-probability.
LIMITS = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
# Heads of 32 dimensions, which every engine knows. Rounding grows with the logits: these are of the size of a real
# model's where bf16 has eight bits for them (there Hugging Face's own bf16 is as far off), and larger in fp32.
SIZES = {
    "qwen2": {"hidden_size": 96, "tie_word_embeddings": True},
    "qwen3": {"head_dim": 32},
    "llama": {"hidden_size": 192},
}
SCALES = {
    torch.float32: {"qwen2": 1.5, "qwen3": 3.0, "llama": 3.0},
    torch.bfloat16: {"qwen2": 0.5, "qwen3": 1.5, "llama": 1.25},
}


@dataclass
class Subject:
    """A model of ours and the oracle that has its weights."""

    folder: Path
    oracle: Any
    model: Transformer

    def copy_weights(self) -> None:
        """Gives the oracle the model's weights as they are."""
        theirs = dict(self.oracle.named_parameters())
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                theirs[name].copy_(parameter)

    def update(self) -> None:
        """A large update in place, as an optimizer makes it: every weight moves."""
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in self.model.parameters():
                spread = parameter.float().std().nan_to_num(1.0)
                parameter.add_((0.3 * spread * torch.randn(parameter.shape, generator=generator)).to(parameter.dtype))
        self.copy_weights()

    def gaps(self, work: list[Group], done: dict[object, list[Sample]]) -> dict[str, float]:
        """The largest distance from the oracle of the sampler's log-probabilities, and of the trainer's."""
        trainer = TorchTrainer(self.model, device="cpu")
        worst = {"sampler": 0.0, "trainer": 0.0}
        for group in work:
            for sample in done[group.key]:
                expected = oracle_logprobs(self.oracle, group, sample)[torch.arange(len(sample.ids)), sample.ids]
                (scored,) = trainer.score([(group.prompt_ids, sample.ids, group.params.temperature)])
                for who, found in (("sampler", torch.from_numpy(sample.logprobs)), ("trainer", torch.tensor(scored))):
                    worst[who] = max(worst[who], (expected - found).abs().max().item())
        return worst


def subject(folder: Path, kind: str, dtype: torch.dtype) -> Subject:
    """A random checkpoint of a family, read in that precision."""
    oracle = models.write_checkpoint(folder, kind, scale=SCALES[dtype][kind], **SIZES[kind])
    made = Subject(folder, oracle, load_model(folder, dtype=dtype, device="cpu"))
    made.copy_weights()
    return made
