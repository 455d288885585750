"""The learning rate as a function of the optimizer updates done so far; it holds no state, so a resume needs none."""

import math

from r1cli.algorithms.settings import GrpoSettings


def learning_rate(step: int, settings: GrpoSettings) -> float:
    """Learning rate of the update that follows `step` finished ones.

    Warm-up is linear over the first `warmup_steps` updates and reaches lr in the last of them; it never gives an update
    with rate 0. "linear" and "cosine" then fall from lr, and reach lr * lr_min_ratio at `total_steps`, where they stay;
    "constant" (DeepSeek-R1) keeps lr. Raises ValueError for a negative step.
    """
    if step < 0:
        raise ValueError(f"step is {step}; it must be 0 or more")
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    if settings.decay == "constant":
        return settings.lr
    if settings.total_steps is None:
        raise ValueError(f"decay {settings.decay!r} needs total_steps, the updates of the whole run")
    progress = min(1.0, (step - settings.warmup_steps) / (settings.total_steps - settings.warmup_steps))
    fall = progress if settings.decay == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return settings.lr * (1 - (1 - settings.lr_min_ratio) * fall)
