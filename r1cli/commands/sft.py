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


def _number(help_: str) -> Option:
    return Option(metavar="X", help=help_)


def _count(help_: str) -> Option:
    return Option(metavar="N", help=help_)


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
    out: Annotated[
        Path | None, Option(metavar="RUN", help="Make RUN from CKPT, as r1 init does, and train it.")
    ] = None,
    template: options.Template = None,
    epochs: Annotated[int | None, _count("Passes over the examples (paper: 2 to 3; default 2).")] = None,
    batch: Annotated[int | None, _count("Examples per update (paper: 128; 64 for distillation).")] = None,
    batch_tokens: Annotated[int | None, _count("Tokens per update, prompts included, instead of --batch.")] = None,
    lr: Annotated[float | None, _number("Learning rate (paper: 5e-5).")] = None,
    loss: Annotated[options.SftLoss | None, Option(help="Train on completions, or on prompts too.")] = None,
    normalize: Annotated[
        options.SftNormalize | None, Option(help="Mean over the tokens of an update, or over its examples' means.")
    ] = None,
    max_length: Annotated[
        int | None, _count("Leave out, and count, examples of more than N tokens; nothing is ever truncated.")
    ] = None,
    validation: Annotated[Path | None, Option(metavar="FILE", help="Examples to validate on, as JSONL.")] = None,
    validation_share: Annotated[
        float | None, _number("Validate on this share of the prompts instead; a prompt is on one side only.")
    ] = None,
    validate_every: Annotated[int | None, _count("Updates between validations (default: each epoch).")] = None,
    patience: Annotated[
        int | None, _count("Stop after N validations without a new best, and publish the best step.")
    ] = None,
    weight_decay: Annotated[float | None, _number("AdamW weight decay.")] = None,
    beta1: Annotated[float | None, _number("Adam's first decay rate.")] = None,
    beta2: Annotated[float | None, _number("Adam's second decay rate.")] = None,
    adam_eps: Annotated[float | None, _number("Adam's epsilon.")] = None,
    grad_clip: Annotated[float | None, _number("Clip the gradient's norm at X.")] = None,
    warmup_steps: Annotated[int | None, Option(metavar="N", help="Updates of linear warm-up.")] = None,
    warmup_ratio: Annotated[float | None, _number("Linear warm-up as a share of all updates (default: 0.03).")] = None,
    decay: Annotated[options.Decay | None, Option(help="Learning-rate schedule (default and paper: cosine).")] = None,
    lr_min_ratio: Annotated[float | None, _number("Where the schedule ends, as a share of --lr (paper: 0.1).")] = None,
    shuffle_seed: Annotated[int | None, Option(metavar="N", help="Seed of the order of the examples.")] = None,
    micro_tokens: Annotated[
        int | None,
        Option(metavar="N", help="Tokens computed at once (GPU 16384, CPU 2304); changes memory, not the gradient."),
    ] = None,
    retokenize: Annotated[
        bool, Option("--retokenize", help="Tokenise the text of completions whose ids are of another tokenizer.")
    ] = False,
    restart: Annotated[
        bool, Option("--restart", help="Begin anew from the run's weights as they are, whatever it was trained on.")
    ] = False,
    save_every: Annotated[
        int | None, Option(metavar="N", min=1, help="Updates between saves (default: each epoch, or 15 minutes).")
    ] = None,
    keep: Annotated[int | None, Option(metavar="N", min=0, help="Steps kept on disk; 0: all.")] = None,
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
    from r1cli.backend.base import EngineOptions
    from r1cli.stream import Writer, raw_lines

    asked = {name: value for name, value in given.items() if name not in HANDLING and value is not None}
    _check(asked)
    request = {
        "settings": asked, "retokenize": retokenize, "restart": restart, "skip_bad": skip_bad,
        "save_every": save_every, "keep": keep,
    }  # fmt: skip
    report = Report()
    with Writer(output) as writer:
        engine = EngineOptions(device, threads, gradient_checkpointing=gradient_checkpointing)
        backend = _open(checkpoint, out, template, engine)
        held = None if validation is None else raw_lines([validation])
        updates = backend.sft(request, report.reading(raw_lines(examples or [])), held)
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


def _check(asked: dict[str, Any]) -> None:
    """Refuses settings that make no sense before anything is read."""
    from r1cli.algorithms.sft_settings import SftSettings, validate_sft
    from r1cli.errors import InputError

    for one, other in (("batch", "batch_tokens"), ("warmup_steps", "warmup_ratio")):
        if one in asked and other in asked:
            raise InputError(f"--{one.replace('_', '-')} and --{other.replace('_', '-')} exclude each other")
    try:
        validate_sft(SftSettings.from_dict(asked))
    except ValueError as error:
        raise InputError(str(error)) from None


def _open(checkpoint: str, out: Path | None, template: str | None, engine: Any) -> Any:
    """The backend of the run to train: CKPT itself, or --out, which is made when it is not there."""
    from r1cli.backend.base import is_url, open_backend, open_new
    from r1cli.errors import InputError
    from r1cli.runs import Run, locate

    if is_url(checkpoint):
        raise InputError(f"{checkpoint} is a server: its model can be sampled, not trained; name a run")
    if out is not None and not out.exists():
        from r1cli.creation import plan_run

        new = plan_run(out, checkpoint, template=template)
        return open_new(new.base, new.planned, new.create, engine)
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
    if run is not None and template is not None:
        from r1cli.prompts import templates

        used = run.defaults("sample").get("template", run.config.get("template", "r1-zero"))
        if templates.load(template) != used:
            raise InputError(
                f"{run.path} puts prompts into another template than {template} (see its run.json); what is trained "
                "must be what is sampled, so --template is for a run that --out makes"
            )
    return open_backend(name, engine)
