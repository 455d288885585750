"""What a training reads: settings from the request and run.json, examples from JSON lines, both checked.

Nothing of the run is touched, and no model is loaded: bad input is found at the start. What follows is finetuning.py's
business.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from r1cli.algorithms.recipe import distillation, table_size
from r1cli.algorithms.sft_settings import SftSettings, validate_sft
from r1cli.backend.base import Lines
from r1cli.backend.conversations import Drafter
from r1cli.backend.examples import Examples, Reader, Rows, split
from r1cli.backend.model import ModelConfig
from r1cli.backend.rollouts import settings as sampling_settings
from r1cli.backend.shapes import Shape
from r1cli.backend.teaching import Teaching, read_teaching
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError
from r1cli.records import digest
from r1cli.runs import Run


class Data(NamedTuple):
    """Examples to train on and, if any, to validate on, with the settings and a fingerprint of all examples."""

    examples: Examples
    train: np.ndarray
    validation: Rows | None
    settings: SftSettings
    fingerprint: str
    teaching: Teaching | None = None


def read_settings(
    run: Run, config: ModelConfig, request: dict[str, Any], note: Callable[[str], None] = lambda _: None
) -> SftSettings:
    """The settings: what the request asks, else what run.json says, else the paper's; InputError for nonsense.

    With the request's `recipe` "distill", the paper's are those for a student of this size.
    """
    asked = {key: value for key, value in request.get("settings", {}).items() if value is not None}
    known = dict(run.defaults("sft"))
    if request.get("recipe") == "distill":
        if "lr" not in asked and "lr" not in known:
            note(_rate(config))
        size, llama = _size(config)
        known = {**distillation(size, llama=llama), **known}
    # One way to say a thing takes the place of the other.
    for one, other in (("batch", "batch_tokens"), ("warmup_ratio", "warmup_steps")):
        if one in asked and other not in asked:
            known.pop(other, None)
    try:
        settings = SftSettings.from_dict({**known, **asked})
        validate_sft(settings)
    except ValueError as error:
        raise InputError(str(error)) from None
    return settings


def _size(config: ModelConfig) -> tuple[int, bool]:
    """Parameters of a model, and whether it is a Llama."""
    shape = Shape(
        config.vocab_size, config.hidden_size, config.intermediate_size, config.layers, config.heads, config.kv_heads,
        config.head_dim, config.tied, config.qkv_bias, config.qk_norm,
    )  # fmt: skip
    return shape.parameters, config.architecture == "llama"


def _rate(config: ModelConfig) -> str:
    size, llama = _size(config)
    row, family = table_size(size, llama=llama), "Llama" if llama else "Qwen"
    return f"learning rate {distillation(size, llama=llama)['lr']:g}, the paper's for {family}-{row:g}B"


def read_data(
    run: Run,
    tokenizer: Tokenizer,
    config: ModelConfig,
    request: dict[str, Any],
    lines: Lines,
    validation: Lines | None,
    note: Callable[[str], None],
) -> Data:
    """Reads and tokenises all examples, by the run's template.

    Raises InputError for what cannot be trained on, before anything of the run is touched.
    """
    settings = read_settings(run, config, request, note)
    if settings.patience is not None and validation is None and not settings.validation_share:
        raise InputError("--patience needs examples to validate on: give --validation FILE or --validation-share X")
    if settings.validation_share and validation is not None:
        raise InputError("--validation and --validation-share exclude each other")
    teaching = read_teaching(request, tokenizer, config)
    template = sampling_settings({}, run)["template"]
    drafter = Drafter(tokenizer, template, config.vocab_size, retokenize=bool(request.get("retokenize")))
    skip_bad = bool(request.get("skip_bad"))
    reader = Reader(drafter, config.context, loss=settings.loss, max_length=settings.max_length, skip_bad=skip_bad)
    examples = reader.read(lines, note)
    if drafter.turn_end is not None and drafter.turn_end not in tokenizer.end_tokens:
        note(
            f"warning: the chat template ends a turn with {tokenizer.decode([drafter.turn_end])}, at which r1 sample "
            f"does not stop; add {drafter.turn_end} to eos_token_id in the model's generation_config.json"
        )
    if validation is not None:
        held = reader.read(validation, note, "validation examples")
        train, rows = np.arange(len(examples)), Rows(held, np.arange(len(held)))
        shared = int(np.isin(held.keys, examples.keys).sum())
        if shared:
            note(f"warning: {shared} of {len(held)} validation examples have a prompt that is trained on")
    else:
        train, chosen = split(examples, settings.validation_share)
        rows = Rows(examples, chosen) if len(chosen) else None
    fingerprint = digest(examples.digest(), rows.examples.digest() if rows else None)
    return Data(examples, train, rows, settings, fingerprint, teaching)
