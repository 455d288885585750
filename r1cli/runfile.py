"""What run.json may say, checked when a run is opened: it is edited by hand, and a slip in it should not wait for use.

Only what the program reads is checked; further keys at the top are the user's notes. Whether settings suit each other
is said where they meet what was asked, which may put them right.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r1cli.algorithms import settings, sft_settings
from r1cli.errors import InputError, nearest


@dataclass(slots=True, frozen=True)
class SampleSettings:
    """How a batch is sampled; the defaults are DeepSeek-R1's.

    Methods: 32 questions x 16 outputs at temperature 1, at most 32,768 tokens (or the context's end).
    """

    questions: int = 32
    group: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 32768
    template: str = "r1-zero"
    stop: list = field(default_factory=list)
    draw: int = 0
    split: str = "train"


@dataclass(slots=True, frozen=True)
class EvalSettings:
    """How a policy is evaluated; DeepSeek-R1, Methods: pass@1 from several samples at temperature 0.6, top-p 0.95."""

    temperature: float = 0.6
    top_p: float = 0.95
    samples: int = 16
    questions: int = 200


SAMPLING_CHOICES = {"split": ("train", "test")}
SAMPLING_RULES: settings.Rules = (
    *((name, "1 or more", lambda x: x >= 1) for name in ("questions", "group", "max_tokens")),
    ("temperature", "0 or more", lambda x: x >= 0),
    ("top_p", "above 0 and at most 1", lambda x: 0 < x <= 1),
    ("stop", "a list of texts", lambda x: all(isinstance(text, str) for text in x)),
    ("draw", "0 or more", lambda x: x >= 0),
)
EVAL_RULES: settings.Rules = (
    *((name, "1 or more", lambda x: x >= 1) for name in ("questions", "samples")),
    *(rule for rule in SAMPLING_RULES if rule[0] in ("temperature", "top_p")),
)

SECTIONS: dict[str, tuple[type, dict[str, tuple[str, ...]], settings.Rules]] = {
    "sample": (SampleSettings, SAMPLING_CHOICES, SAMPLING_RULES),
    "grpo": (settings.GrpoSettings, settings.CHOICES, settings.RULES),
    "sft": (sft_settings.SftSettings, sft_settings.SFT_CHOICES, sft_settings.SFT_RULES),
    "eval": (EvalSettings, {}, EVAL_RULES),
}


def _whole(value: Any) -> bool:
    return type(value) is int  # true is no seed


KEYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "run": ("a text", lambda value: isinstance(value, str)),
    "base": ("an object of name and path", lambda value: isinstance(value, dict) and {"name", "path"} <= value.keys()),
    "template": ("a text or null", lambda value: value is None or isinstance(value, str)),
    "source": ("an object or null", lambda value: value is None or isinstance(value, dict)),
    "lora": ("an object or null", lambda value: value is None or isinstance(value, dict)),
    "seed": ("a whole number", _whole),
    "keep": ("a whole number from 0 on", lambda value: _whole(value) and value >= 0),
    "save_every": ("a whole number from 1 on", lambda value: _whole(value) and value >= 1),
    "refresh_reference": ("a whole number from 0 on", lambda value: _whole(value) and value >= 0),
}


def check(config: Any, file: Path) -> None:
    """Raises InputError (one line: file, key, what is allowed) for what run.json can't say."""
    if not isinstance(config, dict):
        raise InputError(f"{file}: expected a JSON object, found {type(config).__name__}")
    for key, (kind, holds) in KEYS.items():
        if key in config and not holds(config[key]):
            raise InputError(f"{file}: .{key} is {config[key]!r}; expected {kind}")
    check_defaults(config.get("defaults", {}), file)


def check_defaults(defaults: Any, file: Path) -> None:
    """Raises InputError for hyper-parameters that nobody knows, or that no command would take by themselves."""
    if not isinstance(defaults, dict):
        raise InputError(f"{file}: .defaults is {defaults!r}; expected an object with {', '.join(SECTIONS)}")
    for name, values in defaults.items():
        if name not in SECTIONS:
            allowed = f"allowed are {', '.join(SECTIONS)}{nearest(name, SECTIONS)}"
            raise InputError(f"{file}: unknown section .defaults.{name}; {allowed}")
        if not isinstance(values, dict):
            raise InputError(f"{file}: .defaults.{name} is {values!r}; expected an object of settings")
        kind, choices, rules = SECTIONS[name]
        try:
            settings.check_values(settings.from_dict(kind, values, choices), choices, rules)
        except ValueError as error:
            raise InputError(f"{file}: .defaults.{name}: {error}") from None
