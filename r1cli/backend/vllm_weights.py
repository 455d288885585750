"""The weights of vLLM engines: pushed from the trainer's memory, and held to account.

After each push every worker has counted what it received (vllm_worker.py), and each engine's log-probabilities of a
fixed prompt are held against the trainer's. How the weights travel is the engines' business.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from r1cli.backend.model import Transformer
from r1cli.backend.tokenizer import Tokenizer
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.backend.vllm_engine import BLOCK, Part, Request
from r1cli.backend.vllm_worker import Seal, seal
from r1cli.errors import R1Error

PROBE = "probe"
PROBE_TEXT = "Let me think step by step: 12 + 30 = 42, so the answer is 42. "
PROBE_TOKENS = 16
# Largest gap between engine and trainer on the probe. Weights that are not the trainer's are whole units away.
GAP_LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.5, torch.float16: 0.5}


class Engines(Protocol):
    """What takes weights: one engine or several."""

    def take(
        self, tensors: Iterator[tuple[str, Tensor]], seals: dict[str, Seal], version: int, *, asleep: bool
    ) -> None:
        """Loads the weights everywhere; raises R1Error when that failed anywhere."""

    def probe(self, request: Request, version: int) -> list[Part]:
        """The request's sample by each engine."""

    def sleep(self) -> None:
        """Lets the memory on a GPU go until the next `take`."""


class Weights:
    """Which weights the engines hold; `version` is that of the last push."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.version = 0
        self.asleep = False
        self.held: object = None  # the stamp of the weights that the engines hold

    def held_of(self, model: Transformer) -> bool:
        """Whether the engines compute with the model's weights as they are at this moment."""
        return self.held == stamp(model)

    def push(self, engines: Engines, model: Transformer) -> float:
        """Gives idle engines the model's weights as they are now; returns the largest gap of the self-check.

        Raises R1Error when an engine did not take all of them, kept cached states of the old ones, or says something
        else about the probe than the trainer does: it must not be sampled from then.
        """
        self.held = None
        self.version += 1
        now = stamp(model)
        engines.take(_tensors(model), _seals(model), self.version, asleep=self.asleep)
        self.asleep = False
        gap = self._gap(engines, model)
        limit = GAP_LIMITS[model.head_weight.dtype]
        if not gap <= limit:  # NaN neither
            raise R1Error(
                "vLLM does not compute with the weights that it was given: its log-probabilities of a fixed prompt are "
                f"up to {gap:.3g} from the trainer's, expected at most {limit:g}"
            )
        self.held = now
        return gap

    def sleep(self, engines: Engines) -> None:
        """Puts idle engines to sleep; the next push wakes them."""
        if not self.asleep:
            engines.sleep()
            self.asleep, self.held = True, None

    def _gap(self, engines: Engines, model: Transformer) -> float:
        """Largest difference between each engine's log-probs of a short sample from the probe and the trainer's.

        The prompt is always the same and spans whole blocks of the cache, so that a stale cache shows here.
        """
        vocabulary, context = model.config.vocab_size, model.config.context
        ids = [token for token in self.tokenizer.encode(PROBE_TEXT, False) if token < vocabulary] or [0]
        length = max(1, min(3 * BLOCK + 1, context - PROBE_TOKENS))
        prompt = (ids * (length // len(ids) + 1))[:length]
        count = min(PROBE_TOKENS, context - length)
        request = Request(PROBE, prompt, 1.0, 1.0, count, seed=0, ends=[], stream=False)
        parts = engines.probe(request, self.version)
        trainer = TorchTrainer(model, device=model.head_weight.device)
        expected = trainer.score([(prompt, part.ids, 1.0) for part in parts])
        gaps = [
            np.abs(np.array(part.logprobs) - np.array(own)).max() for part, own in zip(parts, expected, strict=True)
        ]
        return float(np.max(gaps))  # NaN wins


def _tensors(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """What is sent: the weights under Hugging Face's names, without the copy of a tied head."""
    return ((name, parameter.detach()) for name, parameter in model.named_parameters())


def _seals(model: Transformer) -> dict[str, Seal]:
    return {name: seal(parameter) for name, parameter in model.named_parameters()}


def stamp(model: Transformer) -> tuple[int, ...]:
    """Changes whenever a weight is replaced or written to: torch counts the writes to every tensor."""
    return (id(model), *(number for p in model.parameters() for number in (p.data_ptr(), p._version)))
