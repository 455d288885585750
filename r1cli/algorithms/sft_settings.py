"""The settings of supervised fine-tuning: plain values with the paper's defaults, and the checks that refuse nonsense.

It imports no torch, so that a command can check what was typed before anything heavy is loaded.
"""

from dataclasses import dataclass, replace
from typing import Any

from r1cli.algorithms.settings import Rules, check_values, from_dict

SFT_CHOICES: dict[str, tuple[str, ...]] = {
    "loss": ("completion", "all"),
    "normalize": ("token", "sequence"),
    "decay": ("constant", "linear", "cosine"),
}


@dataclass(slots=True, frozen=True)
class SftSettings:
    """Settings of one training on a file of examples.

    The defaults are DeepSeek-R1's for the cold start and the 800k stage (supplement B.4.2: 2 to 3 epochs, batch 128,
    5e-5 falling to 5e-6 by a cosine); it prints no warm-up, and the share here is Open-R1's.
    """

    lr: float = 5e-5
    epochs: int = 2
    batch: int = 128  # examples per update
    batch_tokens: int | None = None  # tokens per update, prompts included; decides instead of `batch` when set
    loss: str = "completion"
    normalize: str = "token"
    max_length: int | None = None  # longer examples are left out
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    adam_eps: float = 1e-8
    grad_clip: float = 1.0
    warmup_steps: int | None = None  # decides instead of `warmup_ratio` when set
    warmup_ratio: float = 0.03
    decay: str = "cosine"
    lr_min_ratio: float = 0.1
    shuffle_seed: int = 0
    validation_share: float = 0.0
    validate_every: int | None = None  # updates; None: after each epoch
    patience: int | None = None
    micro_tokens: int | None = None  # None: MICRO_TOKENS of the device
    total_steps: int | None = None  # updates of the whole training; known once the examples are

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SftSettings":
        """Settings from a JSON object; names left out keep their defaults.

        Raises ValueError (one line) for an unknown name or a value of the wrong type.
        """
        return from_dict(cls, values, SFT_CHOICES)

    def over(self, updates: int) -> "SftSettings":
        """The settings with a schedule of so many updates; raises ValueError when the warm-up is longer than that."""
        warmup = self.warmup_steps
        if warmup is None:
            warmup = int(self.warmup_ratio * updates)
        elif warmup >= updates:
            raise ValueError(f"warmup_steps is {warmup}, and there are only {updates} updates; make it smaller")
        return replace(self, warmup_steps=warmup, total_steps=updates)


SFT_RULES: Rules = (
    *((name, "0 or more", lambda x: x >= 0) for name in ("lr", "weight_decay", "warmup_steps", "shuffle_seed")),
    *((name, "1 or more", lambda x: x >= 1) for name in ("epochs", "batch", "batch_tokens", "micro_tokens")),
    *((name, "1 or more", lambda x: x >= 1) for name in ("validate_every", "patience", "total_steps")),
    *((name, "at least 0 and below 1", lambda x: 0 <= x < 1) for name in ("beta1", "beta2", "warmup_ratio")),
    ("validation_share", "at least 0 and below 1", lambda x: 0 <= x < 1),
    ("max_length", "2 or more", lambda x: x >= 2),
    ("adam_eps", "above 0", lambda x: x > 0),
    ("lr_min_ratio", "between 0 and 1", lambda x: 0 <= x <= 1),
    ("grad_clip", "above 0; a large number switches clipping off", lambda x: x > 0),
)


def validate_sft(settings: SftSettings) -> None:
    """Raises ValueError (one line: the setting, what it is, what it may be) when the settings make no sense."""
    check_values(settings, SFT_CHOICES, SFT_RULES)
