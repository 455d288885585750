"""Options that several commands share, and the choices of the others: names, types and help in one place.

Signatures are annotated with Option and Argument; arguments.py reads an ordinary command line by them at once, usage.py
turns them into a typer app for help and for everything else. Only the standard library is imported.
"""

from pathlib import Path
from typing import Annotated, Literal


class Option:
    """A command's option: its names (none: the parameter's own), help, the name of its value, and its bounds."""

    def __init__(
        self, *names: str, help: str, metavar: str | None = None, min: float | None = None, max: float | None = None
    ):
        self.names, self.help, self.metavar, self.min, self.max = names, help, metavar, min, max


class Argument:
    """A command's positional argument: its help and how it is shown."""

    def __init__(self, *, help: str, metavar: str):
        self.help, self.metavar = help, metavar


# Help lists options in groups. A command's file may name its own: HEADINGS = {"first option of a group": "Heading"};
# what many commands have stands under the same heading in each, and this one comes last.
LAST_HEADING = "Output and messages"
_ENGINE = (
    "device", "threads", "slots", "gradient_checkpointing", "sampler", "gpu_memory", "sleep", "engines",
    "tensor_parallel",
)  # fmt: skip
_LAST = ("output", "skip_bad", "quiet", "verbose", "help")
COMMON_HEADINGS = {**dict.fromkeys(_ENGINE, "Engine"), **dict.fromkeys(_LAST, LAST_HEADING)}

Loss = Literal["grpo", "r1", "gspo", "gspo-token", "cispo"]
Normalize = Literal["sequence", "token", "constant"]
Scale = Literal["group", "batch", "none"]
Baseline = Literal["mean", "leave-one-out"]
KlEstimator = Literal["k1", "k2", "k3", "k3-straight-through"]
Correction = Literal["none", "token-truncate", "token-mask", "sequence-truncate", "sequence-mask", "geometric-mask"]
SftLoss = Literal["completion", "all"]
SftNormalize = Literal["token", "sequence"]
Decay = Literal["constant", "linear", "cosine"]
OldLogprobs = Literal["auto", "trainer", "sampler"]
Split = Literal["train", "test"]
Shape = Literal["zero", "think"]
Length = Literal["dapo", "kimi", "cosine"]
Sandbox = Literal["auto", "bubblewrap", "landlock"]
OnError = Literal["fail", "null", "zero"]

LoraTargets = Literal["all-linear", "attention"]

Quiet = Annotated[bool, Option("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[bool, Option("--verbose", "-v", help="Say more, and show tracebacks.")]
Output = Annotated[
    Path | None, Option("--output", "-o", metavar="FILE", help="Write to FILE (by FILE.part and a rename).")
]
SkipBad = Annotated[bool, Option("--skip-bad", help="Count bad lines and go on instead of stopping.")]
Files = Annotated[list[Path] | None, Argument(metavar="[FILE]...", help="Input files; - or none is stdin.")]
Seed = Annotated[int | None, Option(metavar="N", help="Random seed (default: the run's).")]
Device = Annotated[str | None, Option(metavar="NAME", help="cpu or cuda; by default a GPU where there is one.")]
Threads = Annotated[int | None, Option(metavar="N", min=1, help="CPU threads (default: 1 for small models).")]
Slots = Annotated[
    int | None, Option(metavar="N", min=1, help="Samples decoded side by side (default: 128; 512 on a GPU).")
]
Sampler = Annotated[
    Literal["auto", "torch", "vllm"] | None,
    Option(help="What samples; auto: vllm where it is installed and a GPU is there, else torch."),
]
GpuMemory = Annotated[
    float | None, Option(metavar="SHARE", min=0, max=1, help="Part of the GPU's memory that vLLM takes (its own: 0.9).")
]
Sleep = Annotated[
    bool | None,
    Option("--sleep/--no-sleep", help="Let vLLM give its GPU memory back during an update (default: no)."),
]
Engines = Annotated[int | None, Option(metavar="N", min=1, help="vLLM engines side by side, a process each.")]
TensorParallel = Annotated[
    int | None, Option(metavar="N", min=1, help="GPUs that each vLLM engine computes on (on a CPU: processes).")
]
Gpus = Annotated[
    int | None, Option(metavar="N", min=1, help="Processes on this machine, a GPU each (on a CPU: just processes).")
]
Hostfile = Annotated[
    Path | None, Option(metavar="FILE", help="Machines that take part, lines of HOST slots=N; this one first.")
]
Nnodes = Annotated[int | None, Option(metavar="N", min=1, help="Machines that take part; run this command on each.")]
NodeRank = Annotated[
    int | None, Option(metavar="I", min=0, help="Which of the machines this is; 0 serves the clients.")
]
Rendezvous = Annotated[
    str | None, Option(metavar="HOST:PORT", help="Where the machines meet: node 0's name and a free port of it.")
]
Trainer = Annotated[
    Literal["auto", "torch", "deepspeed"] | None,
    Option(help="What trains; auto: deepspeed where there is more than one process, else torch."),
]
Zero = Annotated[
    int | None,
    Option(
        metavar="STAGE", min=1, max=3, help="What DeepSpeed spreads: 1 optimizer, 2 and gradients, 3 and weights (2)."
    ),
]
Offload = Annotated[
    Literal["none", "optimizer", "all"] | None,
    Option(help="What DeepSpeed keeps in host memory; all: weights too, with --zero 3 (default: none)."),
]
GradientCheckpointing = Annotated[
    bool | None,
    Option(
        "--gradient-checkpointing/--no-gradient-checkpointing",
        help="Recompute activations in the backward pass: less memory, a third more time.",
    ),
]
Temperature = Annotated[float | None, Option(metavar="T", min=0, help="Sampling temperature; 0 is greedy.")]
TopP = Annotated[float | None, Option(metavar="P", min=0, max=1, help="Nucleus sampling; 1 keeps all tokens.")]
MaxTokens = Annotated[int | None, Option(metavar="N", min=1, help="Longest completion, in tokens.")]
Stop = Annotated[list[str] | None, Option(metavar="TEXT", help="End a completion at TEXT (kept in it); repeatable.")]
Template = Annotated[str | None, Option(metavar="NAME|FILE", help="r1-zero, chat, raw, or a file with {prompt} in it.")]

# What r1 sft and r1 distill have in common: how a training on examples goes.
NewRun = Annotated[
    Path | None, Option("--out", metavar="RUN", help="Make RUN from it, as r1 init does, and train that.")
]
Epochs = Annotated[int | None, Option(metavar="N", help="Passes over the examples (paper: 2 to 3; default 2).")]
Batch = Annotated[
    int | None, Option(metavar="N", help="Examples per update (paper and default: 128; 64 for distillation).")
]
BatchTokens = Annotated[
    int | None, Option(metavar="N", help="Tokens per update, prompts included, instead of --batch.")
]
TrainedOn = Annotated[SftLoss | None, Option(help="Train on completions, or on prompts too.")]
MeanOver = Annotated[
    SftNormalize | None, Option(help="Mean over the tokens of an update, or over its examples' means.")
]
LongestExample = Annotated[
    int | None,
    Option(metavar="N", help="Leave out, and count, examples of more than N tokens; nothing is ever truncated."),
]
Validation = Annotated[Path | None, Option(metavar="FILE", help="Examples to validate on, as JSONL.")]
ValidationShare = Annotated[
    float | None,
    Option(metavar="X", help="Validate on this share of the prompts instead; a prompt is on one side only."),
]
ValidateEvery = Annotated[int | None, Option(metavar="N", help="Updates between validations (default: each epoch).")]
Patience = Annotated[
    int | None, Option(metavar="N", help="Stop after N validations without a new best, and publish the best step.")
]
WeightDecay = Annotated[float | None, Option(metavar="X", help="AdamW weight decay.")]
Beta1 = Annotated[float | None, Option(metavar="X", help="Adam's first decay rate.")]
Beta2 = Annotated[float | None, Option(metavar="X", help="Adam's second decay rate.")]
AdamEps = Annotated[float | None, Option(metavar="X", help="Adam's epsilon.")]
GradClip = Annotated[float | None, Option(metavar="X", help="Clip the gradient's norm at X.")]
WarmupSteps = Annotated[int | None, Option(metavar="N", help="Updates of linear warm-up.")]
WarmupRatio = Annotated[
    float | None, Option(metavar="X", help="Linear warm-up as a share of all updates (default: 0.03).")
]
Schedule = Annotated[Decay | None, Option(help="Learning-rate schedule (default and paper: cosine).")]
LrMinRatio = Annotated[
    float | None, Option(metavar="X", help="Where the schedule ends, as a share of --lr (paper: 0.1).")
]
ShuffleSeed = Annotated[int | None, Option(metavar="N", help="Seed of the order of the examples.")]
MicroTokens = Annotated[
    int | None,
    Option(metavar="N", help="Tokens computed at once (GPU 16384, CPU 2304); changes memory, not the gradient."),
]
Restart = Annotated[
    bool, Option("--restart", help="Begin anew from the run's weights as they are, whatever it was trained on.")
]
SaveEvery = Annotated[
    int | None, Option(metavar="N", min=1, help="Updates between saves (default: each epoch, or 15 minutes).")
]
Keep = Annotated[int | None, Option(metavar="N", min=0, help="Steps kept on disk; 0: all.")]
