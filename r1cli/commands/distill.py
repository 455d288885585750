"""r1 distill"""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from r1cli import options, ui
from r1cli.options import Argument, Option

# The stages before the training, by their options, and what these are unless said.
STAGES = {"sample": "", "reward": "--accuracy", "filter_": "--correct --finish-reason stop"}
# Everything else is about the training and shared with r1 sft.
CURATION = ("student", "records", "teacher", *STAGES, "work", "on_policy", "top_k", "quiet", "verbose")
# What has no meaning for a student that samples its own examples.
GIVEN_EXAMPLES = (
    "loss", "max_length", "validation", "validation_share", "validate_every", "patience", "batch_tokens",
)  # fmt: skip

HEADINGS = {
    "out": "Run", "teacher": "Teacher", "template": "Run", "epochs": "Update", "validation": "Validation",
    "weight_decay": "Optimizer and schedule", "shuffle_seed": "Order and tokens of the examples", "restart": "Steps",
}  # fmt: skip


def distill(
    student: Annotated[
        str, Argument(metavar="STUDENT", help="The run to train; with --out a run, a model folder, a hub id or tiny.")
    ],
    records: Annotated[
        list[Path] | None,
        Argument(metavar="[FILE]...", help="Rollouts, or prompts for --teacher, as JSONL; - or none is stdin."),
    ] = None,
    out: options.NewRun = None,
    teacher: Annotated[
        str | None, Option(metavar="CKPT|URL", help="Make the rollouts: sample this model, judge and filter.")
    ] = None,
    sample: Annotated[
        str | None, Option(metavar="OPTIONS", help="--teacher: options of r1 sample, as in '--group 4'.")
    ] = None,
    reward: Annotated[
        str | None, Option(metavar="OPTIONS", help="--teacher: options of r1 reward (default: '--accuracy').")
    ] = None,
    filter_: Annotated[
        str | None,
        Option(
            "--filter",
            metavar="OPTIONS",
            help="--teacher: options of r1 filter (default: '--correct --finish-reason stop').",
        ),
    ] = None,
    work: Annotated[
        Path | None,
        Option(metavar="DIR", help="--teacher: where the files of the stages are (default: the run's path, .work)."),
    ] = None,
    on_policy: Annotated[
        bool, Option("--on-policy", help="Learn from the student's own samples: reverse KL to a --teacher checkpoint.")
    ] = False,
    top_k: Annotated[
        int | None,
        Option(metavar="K", min=1, help="Learn the K likeliest tokens of a --teacher checkpoint at each token."),
    ] = None,
    template: options.Template = None,
    epochs: options.Epochs = None,
    batch: options.Batch = None,
    batch_tokens: options.BatchTokens = None,
    lr: Annotated[
        float | None, Option(metavar="X", help="Learning rate (paper: 1e-4 to 2e-5, by size and family; see above).")
    ] = None,
    loss: options.TrainedOn = None,
    normalize: options.MeanOver = None,
    max_length: options.LongestExample = None,
    validation: options.Validation = None,
    validation_share: options.ValidationShare = None,
    validate_every: options.ValidateEvery = None,
    patience: options.Patience = None,
    weight_decay: options.WeightDecay = None,
    beta1: options.Beta1 = None,
    beta2: options.Beta2 = None,
    adam_eps: options.AdamEps = None,
    grad_clip: options.GradClip = None,
    warmup_steps: options.WarmupSteps = None,
    warmup_ratio: options.WarmupRatio = None,
    decay: options.Schedule = None,
    lr_min_ratio: options.LrMinRatio = None,
    shuffle_seed: options.ShuffleSeed = None,
    micro_tokens: options.MicroTokens = None,
    restart: options.Restart = False,
    save_every: options.SaveEvery = None,
    keep: options.Keep = None,
    output: options.Output = None,
    skip_bad: options.SkipBad = False,
    device: options.Device = None,
    threads: options.Threads = None,
    gradient_checkpointing: options.GradientCheckpointing = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train a student on a teacher's rollouts.

    The paper's recipe, by the training of r1 sft: fine-tuning only, 64 examples an update, 2 epochs, learning rate
    falling to a tenth by a cosine. It begins at the paper's rate for the size nearest to the student's, by ratio: 1e-4
    for 1.5B parameters, 8e-5 for 7B, 7e-5 for 14B, 6e-5 for 32B; of the Llama family 5e-5 for 8B, 2e-5 for 70B. What
    the student's run.json says comes first. Rollouts keep their token ids where they are the student's too; the text of
    others is tokenised anew, and counted.

    With --teacher the records are prompts. They are sampled, judged and filtered by r1 sample, r1 reward and r1 filter,
    shown as they are run, and rollouts.jsonl, rewarded.jsonl and kept.jsonl stay in --work: the same command takes what
    is there, goes on with an interrupted sampling, and makes anew what another --reward or --filter changes.

    With --on-policy the student samples the prompts itself (--batch samples an update, --sample '--group 4' of each
    prompt) and learns at each token from log p(teacher) - log p(student): Thinking Machines' on-policy distillation,
    the sampled form of GKD. With --top-k it learns the teacher's distribution over its K likeliest tokens, and what
    these leave as one, at each token of given rollouts. Both need a teacher with the student's tokenizer, a checkpoint
    that is loaded beside the student, or for --on-policy the URL of a vLLM server (its model: --sample '--model NAME').

    \b
    Examples:
      r1 distill Qwen/Qwen2.5-Math-1.5B kept.jsonl --out runs/student --epochs 3
      r1 reward --accuracy < rollouts.jsonl | r1 filter --correct | r1 distill student --out runs/student
      r1 distill student prompts.jsonl --out runs/student --teacher runs/r1 --sample '--group 4'
      r1 distill student prompts.jsonl --out runs/student --teacher https://host/v1 --reward '--accuracy --language en'
      r1 distill student prompts.jsonl --out runs/student --teacher runs/r1 --on-policy --sample '--group 4'
      r1 distill student kept.jsonl --out runs/student --teacher runs/r1 --top-k 32
    """
    given = locals().copy()
    ui.setup("distill", quiet, verbose)
    from r1cli.commands.sft import check, find_run, train
    from r1cli.stream import raw_lines

    _check_teaching(given)
    training = {name: value for name, value in given.items() if name not in CURATION}
    check(training)
    files, more = records or [], {"recipe": "distill", "retokenize": True}
    if on_policy:
        from r1cli.commands.distill_stages import sampling_of
        from r1cli.prompts.sources import read_prompts
        from r1cli.records import unique_ids

        find_run(student, training)
        sampling = sampling_of(student, sample or "")
        model = sampling.pop("model")
        more |= {"teaching": {"teacher": _folder(teacher, model), "model": model}, "sampling": sampling}
        prompts = list(read_prompts(files, skip_bad=skip_bad))
        unique_ids(prompts)
        return train(student, training, more, prompts=prompts)
    if top_k is not None:
        more["teaching"] = {"teacher": _folder(teacher), "top_k": top_k}
    elif teacher is not None:
        from r1cli.commands.distill_stages import curate

        find_run(student, training)  # what is wrong with the student is said before the teacher works
        texts = {name: default if given[name] is None else given[name] for name, default in STAGES.items()}
        folder = work or Path(f"{out or student}".rstrip("/") + ".work")
        files = [curate(teacher, files, texts, folder, skip_bad=skip_bad)]
        ui.say(f"+ r1 distill {shlex.join([student, str(files[0]), *_spelled(training)])}")
    train(student, training, more, lines=raw_lines(files))


def _check_teaching(given: dict[str, Any]) -> None:
    """Raises InputError for options that don't go together."""
    from r1cli.backend.base import is_url
    from r1cli.errors import InputError

    def flags(names: Iterable[str]) -> str:
        return " and ".join(f"--{name.rstrip('_').replace('_', '-')}" for name in names if given[name] is not None)

    here = "--on-policy" if given["on_policy"] else "" if given["top_k"] is None else "--top-k"
    if given["on_policy"] and given["top_k"] is not None:
        raise InputError("--on-policy and --top-k exclude each other: one learns from its own samples, one from given")
    if given["teacher"] is None:
        if wrong := here or flags([*STAGES, "work"]):
            raise InputError(f"{wrong} needs a --teacher, which is not named")
    elif here == "--top-k" and is_url(given["teacher"]):
        raise InputError("--top-k needs the teacher's whole distribution, which no server tells: name a checkpoint")
    if here and (wrong := flags(["reward", "filter_", "work", *(["sample"] if here == "--top-k" else [])])):
        raise InputError(f"{wrong} is for the rollouts of a teacher; with {here} it makes none")
    if given["on_policy"] and (wrong := flags(GIVEN_EXAMPLES)):
        raise InputError(f"{wrong} is for given examples; with --on-policy the student samples its own")


def _folder(teacher: str, model: str | None = None) -> str:
    """Where the teacher's weights are, for a backend that may have been started elsewhere; a URL is one itself."""
    from r1cli.backend.base import check_local, is_url
    from r1cli.runs import locate

    if is_url(teacher):
        return teacher
    check_local(teacher, model=model)
    return str(locate(teacher)[0].resolve())


def _spelled(given: dict[str, Any]) -> list[str]:
    """The options of the training as they were typed, or could have been."""
    words: list[str] = []
    for name, value in given.items():
        flag = name.replace("_", "-")
        if value is True:
            words.append(f"--{flag}")
        elif value is False and name == "gradient_checkpointing":
            words.append(f"--no-{flag}")
        elif value not in (None, False):
            words += [f"--{flag}", str(value)]
    return words
