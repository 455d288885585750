"""r1 sft"""

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from r1cli import options, ui
from r1cli.options import Argument, Option

# What says how the run and the examples are handled; every other option is a setting of the training.
HANDLING = {
    "checkpoint", "examples", "out", "template", "validation", "retokenize", "restart", "save_every", "keep", "output",
    "skip_bad", "device", "threads", "gradient_checkpointing", "quiet", "verbose",
}  # fmt: skip


HEADINGS = {
    "out": "Run", "epochs": "Update", "validation": "Validation", "weight_decay": "Optimizer and schedule",
    "shuffle_seed": "Order and tokens of the examples", "restart": "Steps",
}  # fmt: skip


def sft(
    checkpoint: Annotated[
        str, Argument(metavar="CKPT", help="The run to train; with --out a run, a model folder, a hub id or tiny.")
    ],
    examples: Annotated[
        list[Path] | None, Argument(metavar="[EXAMPLES]...", help="JSONL files; - or none is stdin.")
    ] = None,
    out: options.NewRun = None,
    template: options.Template = None,
    epochs: options.Epochs = None,
    batch: options.Batch = None,
    batch_tokens: options.BatchTokens = None,
    lr: Annotated[float | None, Option(metavar="X", help="Learning rate (paper: 5e-5).")] = None,
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
    retokenize: Annotated[
        bool, Option("--retokenize", help="Tokenise the text of completions whose ids are of another tokenizer.")
    ] = False,
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
    """Fine-tune a run on examples: a metrics record per update.

    An example has a `prompt` (or `messages`) and a `completion`, or whole `messages`, of which every assistant turn is
    learnt. Prompts are put into the run's template, as r1 sample does; rollouts keep their token ids. The order is
    fixed by --shuffle-seed, examples of an update do not see each other, and the end token is trained once.
    Killed at any moment, the same command goes on where the run was saved, and ends with the same weights. When it is
    done it trains nothing and gives the stored metrics; and the policy it has made is the KL reference from then on.
    What you don't set comes from run.json, else from the paper.

    \b
    Examples:
      r1 sft runs/cold examples.jsonl --validation-share 0.05 --patience 3
      r1 sft tiny --out runs/cold < examples.jsonl
      r1 sample ckpt | r1 reward --accuracy | r1 filter --correct --best-of shortest | r1 sft tiny - --out runs/sft
    """
    given = locals().copy()
    ui.setup("sft", quiet, verbose)
    from r1cli.stream import raw_lines

    check(given)
    train(checkpoint, given, {"retokenize": retokenize}, lines=raw_lines(examples or []))


def settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """What was asked of the training itself, by the options' names."""
    return {name: value for name, value in given.items() if name not in HANDLING and value is not None}


def train(
    checkpoint: str,
    given: dict[str, Any],
    more: dict[str, Any],
    *,
    lines: Iterable[tuple[bytes, str]] = (),
    prompts: list[Any] | None = None,
) -> None:
    """Trains a checkpoint's run, or the one that `out` names, and writes its metrics.

    It learns from lines of examples, or from its own samples of prompts. `given` are the options of the command, `more`
    what it asks of the backend besides.
    """
    from r1cli.backend.base import EngineOptions, open_backend, open_new
    from r1cli.stream import Writer, raw_lines

    request = {"settings": settings_of(given), **more}
    request |= {name: given[name] for name in ("restart", "skip_bad", "save_every", "keep")}
    report = Report()
    with Writer(given["output"]) as writer:
        engine = EngineOptions(
            given["device"], given["threads"], gradient_checkpointing=given["gradient_checkpointing"]
        )
        name, new = find_run(checkpoint, given)
        backend = open_backend(name, engine) if new is None else open_new(new.base, new.planned, new.create, engine)
        if prompts is None:
            held = None if given["validation"] is None else raw_lines([given["validation"]])
            updates = backend.sft(request, report.reading(lines), held)
        else:
            updates = backend.distill(request, prompts)
        try:
            for line in updates:
                report.update(line)
                writer.write(line)
        finally:
            report.progress.clear()
            updates.close()  # saves what was reached when the reader of the metrics went away
            backend.close()
    report.close()


class Report:
    """What a person sees of a training: a line that redraws itself, and one at the end."""

    def __init__(self) -> None:
        self.progress = ui.Progress()
        self.began = 0.0
        self.first: dict[str, Any] | None = None
        self.last: dict[str, Any] = {}
        self.validated: list[float] = []
        self.tokens = self.labels = 0
        self.seconds = 0.0  # of the updates themselves, which a finished training tells too

    def reading(self, lines: Iterable[Any]) -> Iterator[Any]:
        """The same lines, counted for the person who waits."""
        for count, line in enumerate(lines, 1):
            yield line
            self.progress.update(f"read {count:,} examples")
        self.progress.last = 0.0  # at once, for it stays a while
        self.progress.update("loading the model")

    def update(self, line: bytes) -> None:
        """Takes one update into account."""
        now = time.monotonic()
        record = self.last = json.loads(line)
        self.first = self.first or record
        self.tokens += record["tokens"]
        self.labels += record["labelled_tokens"]
        if record.get("validation_loss") is not None:
            self.validated.append(record["validation_loss"])
        spent = sum(record["seconds"].values())
        self.seconds += spent
        self.began = self.began or now - spent
        passed = now - self.began
        done = record["update"] - self.first["update"] + 1
        left = passed / done * (record["updates"] - record["update"])
        validated = f", validation {self.validated[-1]:.4f}" if self.validated else ""
        self.progress.update(
            f"update {record['update']} of {record['updates']}, epoch {record['epoch']:.2f}, loss {record['loss']:.4f}"
            f"{validated}, {self.tokens / max(passed, 1e-9):,.0f} tokens/s, {duration(left)} left"
        )

    def close(self) -> None:
        """Says in one line what the training came to."""
        if self.first is None:
            return
        last = self.last
        parts = [f"loss {self.first['loss']:.4f} -> {last['loss']:.4f}"]
        if self.validated:
            parts.append(f"validation {self.validated[0]:.4f} -> {self.validated[-1]:.4f}")
        if last.get("best_step") is not None:
            parts.append(f"the weights are those of step {last['best_step']}, the best")
        parts.append(f"{self.labels:,} of {self.tokens:,} tokens trained in {duration(self.seconds)}")
        ui.say(f"step {last['step']}: update {last['update']} of {last['updates']}, {', '.join(parts)}")


def duration(seconds: float) -> str:
    """A time span as a person says it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def check(given: dict[str, Any]) -> None:
    """Refuses settings that make no sense before anything is read."""
    from r1cli.algorithms.sft_settings import SftSettings, validate_sft
    from r1cli.errors import InputError

    asked = settings_of(given)
    for one, other in (("batch", "batch_tokens"), ("warmup_steps", "warmup_ratio")):
        if one in asked and other in asked:
            raise InputError(f"--{one.replace('_', '-')} and --{other.replace('_', '-')} exclude each other")
    try:
        validate_sft(SftSettings.from_dict(asked))
    except ValueError as error:
        raise InputError(str(error)) from None


def find_run(checkpoint: str, given: dict[str, Any]) -> tuple[str, Any]:
    """The name of the run to train: CKPT itself, or --out with its plan when it is not there; nothing heavy is loaded.

    Raises InputError for what can't be trained.
    """
    from r1cli.backend.base import is_url
    from r1cli.errors import InputError
    from r1cli.runs import Run, locate

    out, template = given["out"], given["template"]
    if is_url(checkpoint):
        raise InputError(f"{checkpoint} is a server: its model can be sampled, not trained; name a run")
    if out is not None and not out.exists():
        from r1cli.creation import plan_run

        return str(out), plan_run(out, checkpoint, template=template)
    name, run = checkpoint, None
    if out is not None:
        name, run = str(out), Run.open(out)
        folder, base = locate(checkpoint)[0], run.config["base"]
        if Path(base["path"]) != folder.resolve():
            raise InputError(
                f"{out} exists and was made from {base['path']}, not from {folder}; name another --out, or train it as "
                f"it is: r1 sft {out}"
            )
    run = run or locate(checkpoint)[1]
    if run is None:
        raise InputError(f"{checkpoint} is a plain model folder, which is never written to; name a run with --out")
    if template is not None:
        from r1cli.prompts import templates

        used = run.defaults("sample").get("template", run.config.get("template", "r1-zero"))
        if templates.load(template) != used:
            raise InputError(
                f"{run.path} puts prompts into another template than {template} (see its run.json); what is trained "
                "must be what is sampled, so --template is for a run that --out makes"
            )
    return name, None
