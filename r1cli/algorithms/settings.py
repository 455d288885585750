"""The settings of a GRPO update: plain values with the paper's defaults, and the checks that refuse nonsense.

It imports no torch, so that a command can check what was typed before anything heavy is loaded. What a setting means in
formulas stands in the module that uses it.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import Any, get_args

from r1cli.errors import nearest

FEW = 12  # names that a message lists beside the one that was probably meant
CHOICES: dict[str, tuple[str, ...]] = {
    "loss": ("grpo", "r1", "gspo", "gspo-token", "cispo"),
    "normalize": ("sequence", "token", "constant"),
    "scale": ("group", "batch", "none"),
    "baseline": ("mean", "leave-one-out"),
    "kl_estimator": ("k1", "k2", "k3", "k3-straight-through"),
    "correction": (
        "none",
        "token-truncate",
        "token-mask",
        "sequence-truncate",
        "sequence-mask",
        "geometric-mask",
    ),
    "decay": ("constant", "linear", "cosine"),
    "old_logprobs": ("auto", "trainer", "sampler"),
}


# Tokens of a micro-batch. On a CPU more are no faster (3M parameters: 1024 cost a tenth more, 4700 as much).
MICRO_TOKENS = {"cuda": 16384, "cpu": 2304}


@dataclass(slots=True, frozen=True)
class GrpoSettings:
    """Settings of one update; the defaults are DeepSeek-R1's (section 2.2 and Methods), where it prints any.

    Two defaults need a word. The ratio is per token, as DeepSeekMath defines it; "r1" is the per-output ratio that the
    R1 paper prints. Clip ratio 10 is R1's, so the interval is [-9, 11] and the lower bound never binds.
    """

    lr: float = 3e-6
    minibatches: int = 1
    epochs: int = 1
    loss: str = "grpo"
    normalize: str = "sequence"
    normalize_constant: float | None = None  # None: the max_tokens that the batch was sampled with
    scale: str = "group"
    baseline: str = "mean"
    clip_low: float = 10.0  # the ratio is clipped to [1 - clip_low, 1 + clip_high]; from 1 on there is no lower bound
    clip_high: float = 10.0
    dual_clip: float | None = None  # bound of the ratio where the advantage is negative
    kl: float = 0.001
    kl_estimator: str = "k3"
    kl_unbiased: bool = False
    correction: str = "none"
    correction_min: float = 0.0
    correction_max: float = 2.0
    offpolicy_mask: float | None = None
    mask_truncated: bool = False
    overlong_cache: int = 0  # tokens; 0 switches the soft punishment off
    entropy: float = 0.0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    adam_eps: float = 1e-8
    grad_clip: float = 1.0
    warmup_steps: int = 0
    decay: str = "constant"
    total_steps: int | None = None
    lr_min_ratio: float = 0.1
    old_logprobs: str = "auto"
    micro_tokens: int | None = None  # None: MICRO_TOKENS of the device
    shuffle_seed: int = 0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "GrpoSettings":
        """Settings from a JSON object; names left out keep their defaults.

        Raises ValueError (one line) for an unknown name or a value of the wrong type. It does not judge the values:
        call validate once everything that overrides them has been put in.
        """
        return from_dict(cls, values, CHOICES)


def from_dict(kind: type, values: dict[str, Any], choices: dict[str, tuple[str, ...]]) -> Any:
    """Settings of a dataclass from a JSON object; raises ValueError for an unknown name or a value of another type."""
    types = {field.name: field.type for field in fields(kind)}
    unknown = [name for name in values if name not in types]
    if unknown:
        near = nearest(unknown[0], types, 0.7)  # learning_rate is not lr_min_ratio
        # Thirty names hide the one that was meant; a few do not.
        allowed = "" if near and len(types) > FEW else f"; allowed are {', '.join(types)}"
        raise ValueError(f"unknown setting {', '.join(map(repr, unknown))}{allowed}{near}")
    return kind(**{name: _typed(name, value, types[name], choices) for name, value in values.items()})


def _typed(name: str, value: Any, kind: Any, choices: dict[str, tuple[str, ...]]) -> Any:
    allowed = get_args(kind) or (kind,)
    # bool is an int to Python, but true is no step count; a JSON 1 is a good float all the same.
    if type(value) in allowed:
        return value
    if type(value) is int and float in allowed:
        return float(value)
    words = " or ".join("null" if item is type(None) else item.__name__ for item in allowed)
    hint = f", one of {', '.join(choices[name])}" if name in choices else ""
    raise ValueError(f"setting {name} is {value!r}; expected {words}{hint}")


Rules = tuple[tuple[str, str, Callable[[Any], bool]], ...]

RULES: Rules = (
    *((name, "0 or more", lambda x: x >= 0) for name in ("lr", "clip_low", "clip_high", "kl", "correction_min")),
    *((name, "0 or more", lambda x: x >= 0) for name in ("offpolicy_mask", "overlong_cache", "entropy")),
    *((name, "0 or more", lambda x: x >= 0) for name in ("weight_decay", "warmup_steps", "shuffle_seed")),
    *((name, "1 or more", lambda x: x >= 1) for name in ("minibatches", "epochs", "total_steps", "micro_tokens")),
    *((name, "above 0", lambda x: x > 0) for name in ("normalize_constant", "correction_max", "adam_eps")),
    *((name, "at least 0 and below 1", lambda x: 0 <= x < 1) for name in ("beta1", "beta2")),
    ("lr_min_ratio", "between 0 and 1", lambda x: 0 <= x <= 1),
    ("dual_clip", "above 1: a lower bound would cut the gradient on policy too", lambda x: x > 1),
    ("grad_clip", "above 0; a large number switches clipping off", lambda x: x > 0),
)


# Settings that say how another one works: that one, and its values with which they do nothing.
_IDLE = {
    "correction_min": ("correction", ("none",)),
    "correction_max": ("correction", ("none",)),
    "normalize_constant": ("normalize", ("sequence", "token")),
    "lr_min_ratio": ("decay", ("constant",)),
}


def validate(settings: GrpoSettings) -> None:
    """Raises ValueError (one line: the setting, what it is, what it may be) when the settings make no sense."""
    validate_each(settings)
    _validate_together(settings)


def validate_each(settings: GrpoSettings) -> None:
    """As validate, but without what a run's own settings may put right: so what was typed can be checked by itself."""
    check_values(settings, CHOICES, RULES)
    if settings.correction != "none" and settings.old_logprobs == "sampler":
        raise ValueError(
            f"correction {settings.correction!r} compares the sampler's log-probs with the trainer's; "
            "it does nothing with old_logprobs 'sampler': use 'trainer' or 'auto'"
        )
    if settings.loss == "cispo" and settings.dual_clip is not None:
        raise ValueError("dual_clip has no meaning with loss 'cispo', which bounds every ratio by clip_high: drop one")


def refuse_idle(asked: Collection[str], settings: GrpoSettings) -> None:
    """Raises ValueError for a setting that was asked for and does nothing beside the others, the run's own included."""
    for name, (owner, idle) in _IDLE.items():
        value = getattr(settings, owner)
        if name in asked and value in idle:
            raise ValueError(f"{name} does nothing with {owner} {value!r}; set {owner} too, or leave {name} out")


def check_values(settings: Any, choices: dict[str, tuple[str, ...]], rules: Rules) -> None:
    """Raises ValueError for a value of the wrong type, one that is not among its choices, or one that breaks a rule."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        _typed(field.name, value, field.type, choices)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name} is {value}; it must be a finite number")
    for name, words in choices.items():
        if getattr(settings, name) not in words:
            raise ValueError(f"{name} is {getattr(settings, name)!r}; it must be one of {', '.join(words)}")
    for name, rule, holds in rules:
        value = getattr(settings, name)
        if value is not None and not holds(value):
            raise ValueError(f"{name} is {value}; it must be {rule}")


def _validate_together(settings: GrpoSettings) -> None:
    low, high = settings.correction_min, settings.correction_max
    if low > high:
        raise ValueError(f"correction_min is {low}, above correction_max {high}; swap them")
    if settings.decay != "constant":
        if settings.total_steps is None:
            raise ValueError(f"decay {settings.decay!r} needs total_steps, the updates of the whole run")
        if settings.total_steps <= settings.warmup_steps:
            raise ValueError(
                f"total_steps is {settings.total_steps}, not above warmup_steps {settings.warmup_steps}: "
                f"nothing is left for decay {settings.decay!r}"
            )
