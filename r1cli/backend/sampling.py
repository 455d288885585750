"""What every sampler takes and gives: a prompt with its seeds and settings in, its samples out.

Plain data without torch, so that any engine can share it. How tokens are drawn is the engine's business
(sampler_torch.py).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from r1cli.errors import InputError

if TYPE_CHECKING:
    import numpy as np


@dataclass(slots=True)
class SamplingParams:
    """How the samples of one group are drawn."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024
    stop: tuple[str, ...] = ()


@dataclass(slots=True)
class Group:
    """One prompt and a 64-bit seed key for each sample wanted of it; `key` names it to the caller."""

    key: object
    prompt_ids: list[int]
    seeds: list[int]
    params: SamplingParams


@dataclass(slots=True)
class Sample:
    """One completion: ids (the end token included), float32 log-probabilities [len(ids)], and "stop" or "length"."""

    ids: list[int]
    logprobs: "np.ndarray"
    finish: str


def check_group(group: Group, *, context: int, vocabulary: int) -> None:
    """Raises InputError for a group that no engine can sample: its prompt, its number of samples or its settings."""
    params, length = group.params, len(group.prompt_ids)
    if not length:
        raise InputError("the prompt has no tokens; give it at least one (a beginning-of-text token will do)")
    if length >= context:
        raise InputError(f"prompt has {length} tokens, the model's context is {context}")
    strange = [token for token in (min(group.prompt_ids), max(group.prompt_ids)) if not 0 <= token < vocabulary]
    if strange:
        raise InputError(f"prompt has token id {strange[0]}, the model's vocabulary is {vocabulary}; wrong tokenizer?")
    if params.max_tokens < 1:
        raise InputError(f"max_tokens is {params.max_tokens}, expected at least 1")
    if not 0 <= params.temperature < math.inf:
        raise InputError(f"temperature is {params.temperature}, expected 0 (greedy) or a positive number")
    if not 0 < params.top_p <= 1:
        raise InputError(f"top_p is {params.top_p}, expected more than 0 and at most 1")
    if "" in params.stop:
        raise InputError("a stop string is empty; expected at least one character")
    if not group.seeds:
        raise InputError("a group has no seeds; expected one for each sample wanted")
