"""r1 grpo-step"""

import json
from pathlib import Path
from typing import Annotated, Any

from r1cli import options, ui
from r1cli.options import Option

# What says how a batch is handled; every other option is a setting of the update.
HANDLING = {
    "files", "run", "max_staleness", "allow_partial", "keep", "save_every", "refresh_reference", "output", "device",
    "threads", "gradient_checkpointing", "quiet", "verbose",
}  # fmt: skip
# Mean gap in nats a token above which something is wrong: bf16 makes .02, a policy some steps older .1.
LARGEST_GAP = 0.5

HEADINGS = {
    "run": "Update", "loss": "Loss", "kl": "KL to the reference", "correction": "Off-policy correction",
    "mask_truncated": "Length and entropy", "weight_decay": "Optimizer and schedule", "old_logprobs": "Computation",
    "max_staleness": "Batch and steps",
}  # fmt: skip


def _number(help_: str) -> Option:
    return Option(metavar="X", help=help_)


def grpo_step(
    files: options.Files = None,
    run: Annotated[
        str | None, Option("--run", metavar="RUN", help="The run to update, when its folder has moved.")
    ] = None,
    lr: Annotated[float | None, _number("Learning rate (paper: 3e-6).")] = None,
    minibatches: Annotated[
        int | None, Option(metavar="N", help="Updates per batch, over random parts of it (paper: 16 of 8192).")
    ] = None,
    epochs: Annotated[int | None, Option(metavar="N", help="Passes over the batch (paper: 1).")] = None,
    loss: Annotated[
        options.Loss | None,
        Option(help="grpo: ratio per token (DeepSeekMath); r1: per sequence, as R1 prints it; or a later one."),
    ] = None,
    normalize: Annotated[
        options.Normalize | None,
        Option(help="Mean over sequences of token means (GRPO), over tokens (DAPO), or constant (Dr. GRPO)."),
    ] = None,
    normalize_constant: Annotated[
        float | None, _number("The constant of --normalize constant (default: max_tokens of the batch).")
    ] = None,
    scale: Annotated[
        options.Scale | None, Option(help="Divide advantages by the std of the group, of the batch, or not.")
    ] = None,
    baseline: Annotated[options.Baseline | None, Option(help="Group mean, or the mean of the others (RLOO).")] = None,
    clip_low: Annotated[float | None, _number("Lower clip range: ratio >= 1 - X (paper: 10).")] = None,
    clip_high: Annotated[float | None, _number("Upper clip range: ratio <= 1 + X (paper: 10; DAPO: 0.28).")] = None,
    dual_clip: Annotated[float | None, _number("Bound of the ratio for negative advantages, e.g. 3.")] = None,
    kl: Annotated[float | None, _number("Weight of the KL to the reference (paper: 0.001; 0: no reference).")] = None,
    kl_estimator: Annotated[options.KlEstimator | None, Option(help="Estimator of the KL (paper: k3).")] = None,
    kl_unbiased: Annotated[
        bool | None, Option("--kl-unbiased/--no-kl-unbiased", help="Weigh the KL by the ratio (DeepSeek-V3.2).")
    ] = None,
    correction: Annotated[
        options.Correction | None, Option(help="Importance correction for sampler and trainer that disagree.")
    ] = None,
    correction_min: Annotated[float | None, _number("Lower bound of the correction's weight.")] = None,
    correction_max: Annotated[float | None, _number("Upper bound of the correction's weight (TIS: 2).")] = None,
    offpolicy_mask: Annotated[
        float | None, _number("Drop sequences with negative advantage that drifted more than X (DeepSeek-V3.2).")
    ] = None,
    mask_truncated: Annotated[
        bool | None,
        Option("--mask-truncated/--no-mask-truncated", help="No gradient from truncated samples (DAPO)."),
    ] = None,
    overlong_cache: Annotated[
        int | None, Option(metavar="N", help="Punish the last N tokens before the limit softly (DAPO); 0: off.")
    ] = None,
    entropy: Annotated[float | None, _number("Weight of the entropy bonus.")] = None,
    weight_decay: Annotated[float | None, _number("AdamW weight decay.")] = None,
    beta1: Annotated[float | None, _number("Adam's first decay rate.")] = None,
    beta2: Annotated[float | None, _number("Adam's second decay rate.")] = None,
    adam_eps: Annotated[float | None, _number("Adam's epsilon.")] = None,
    grad_clip: Annotated[float | None, _number("Clip the gradient's norm at X.")] = None,
    warmup_steps: Annotated[int | None, Option(metavar="N", help="Updates of linear warm-up.")] = None,
    decay: Annotated[options.Decay | None, Option(help="Learning-rate schedule after the warm-up.")] = None,
    total_steps: Annotated[int | None, Option(metavar="N", help="Length of the schedule, in updates.")] = None,
    lr_min_ratio: Annotated[float | None, _number("Where the schedule ends, as a share of --lr.")] = None,
    old_logprobs: Annotated[
        options.OldLogprobs | None,
        Option(help="Whose log-probs the ratio is taken against; auto: the sampler's when stale."),
    ] = None,
    micro_tokens: Annotated[
        int | None,
        Option(metavar="N", help="Tokens computed at once (GPU 16384, CPU 2304); changes memory, not the gradient."),
    ] = None,
    shuffle_seed: Annotated[int | None, Option(metavar="N", help="Seed of the split into minibatches.")] = None,
    max_staleness: Annotated[int, Option(metavar="N", min=0, help="Accept rollouts up to N iterations old.")] = 0,
    allow_partial: Annotated[
        bool, Option("--allow-partial", help="Train on a batch from which rollouts are missing.")
    ] = False,
    keep: Annotated[int | None, Option(metavar="N", min=0, help="Steps kept on disk; 0: all.")] = None,
    save_every: Annotated[
        int | None, Option(metavar="N", min=1, help="Iterations between saves of a resident backend.")
    ] = None,
    refresh_reference: Annotated[
        int | None, Option(metavar="N", min=0, help="Updates between moves of the reference; 0: never.")
    ] = None,
    output: options.Output = None,
    device: options.Device = None,
    threads: options.Threads = None,
    gradient_checkpointing: options.GradientCheckpointing = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Update the policy by one GRPO iteration: metrics out.

    The policy is the run that sampled the rollouts. Reads them to their end and refuses, with exit code 2 and no
    update, a batch from which rollouts are missing, that is stale, or that belongs to another run. A batch that was
    applied before gives its stored metrics and trains nothing. What you don't set comes from run.json, else from the
    paper.

    \b
    Examples:
      r1 sample ckpt | r1 reward --format --accuracy | r1 grpo-step
      r1 grpo-step --loss gspo --clip-low 3e-4 --clip-high 4e-4 --kl 0 < rewarded.jsonl
      r1 grpo-step --normalize token --clip-low 0.2 --clip-high 0.28 --kl 0 < rewarded.jsonl    # DAPO
    """
    given = locals().copy()
    ui.setup("grpo-step", quiet, verbose)
    from r1cli.backend.base import EngineOptions, open_backend
    from r1cli.stream import Writer, raw_lines

    asked = {name: value for name, value in given.items() if name not in HANDLING and value is not None}
    if asked:
        _check(asked)
    request = {
        "settings": asked,
        "max_staleness": max_staleness,
        "allow_partial": allow_partial,
        "keep": keep,
        "save_every": save_every,
        "refresh_reference": refresh_reference,
    }
    with Writer(output) as out:
        lines = raw_lines([Path(file) for file in files or []])
        first, lines = _peek(lines)
        backend = open_backend(
            run or _named_run(*first), EngineOptions(device, threads, gradient_checkpointing=gradient_checkpointing)
        )
        try:
            for line in backend.grpo_step(request, lines):
                out.write(line)
                update = json.loads(line)
                ui.say(_summary(update))
                if (update.get("logprob_gap_mean") or 0) > LARGEST_GAP:
                    ui.warn(
                        f"sampler and trainer differ by {update['logprob_gap_mean']:.2g} a token about these rollouts' "
                        "log-probs; expected near 0: were token ids or log-probs changed on the way?"
                    )
        finally:
            backend.close()


def _check(asked: dict[str, Any]) -> None:
    """Refuses settings that make no sense before anything is read; only then is their module worth its import."""
    from r1cli.algorithms import settings
    from r1cli.errors import InputError

    try:
        settings.validate_each(settings.GrpoSettings.from_dict(asked))
    except ValueError as error:
        raise InputError(str(error)) from None


def _summary(update: dict[str, Any]) -> str:
    """One update for a person: what was learnt from, and the invariants worth a look."""
    shown = {"reward": update.get("reward"), **(update.get("rewards") or {}), "kl": update.get("kl")}
    parts = [f"{name} {value:.3f}" for name, value in shown.items() if value is not None]
    parts += [f"thinking {update['thinking_mean']:.1f} of {update['length_mean']:.1f} tokens"]
    parts += [f"{update['truncated']:.0%} truncated"] if update.get("truncated") else []
    parts += [f"{update['zero_variance']:.0%} of groups without variance"] if update.get("zero_variance") else []
    parts += [f"{update['failed']} failed"] if update.get("failed") else []
    return f"step {update['step']}: {', '.join(parts)}"


def _peek(lines: object) -> tuple[tuple[bytes, str], object]:
    from itertools import chain

    from r1cli.errors import InputError

    first = next(lines, None)
    if first is None:
        raise InputError("no rollouts: the input is empty")
    return first, chain([first], lines)


def _named_run(raw: bytes, where: str) -> str:
    """The folder of the run that the first rollout was sampled from."""
    from r1cli.errors import InputError
    from r1cli.records import check_rollout
    from r1cli.runs import Run
    from r1cli.stream import parse

    try:
        policy = json.loads(raw)["policy"]
        path, run = policy["path"] + "", policy["run"] + ""
    except (ValueError, KeyError, TypeError):
        check_rollout(parse(raw, where), where)  # says what is wrong with the line
        raise
    if not (Path(path) / "run.json").is_file():
        raise InputError(f"{where}: the run {path} is not here; name its folder with --run")
    if Run.open(Path(path)).id != run:
        raise InputError(f"{where}: {path} is another run than the one sampled from; name the right one with --run")
    return path
