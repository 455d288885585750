"""What a value of an option or argument may be, for completion: words, files of a kind, runs, models, folders.

Told from the metavar and the type, so that a new command needs no entry here; names that stand in no signature, those
of presets, rewards and templates, are asked of those who know them.
"""

import sys
from pathlib import Path
from typing import NamedTuple

from r1cli.app import find
from r1cli.backend.shapes import SHAPES
from r1cli.prompts import questions, templates
from r1cli.prompts.presets import PRESETS
from r1cli.prompts.sources import TASKS
from r1cli.rewards.language import LANGUAGES
from r1cli.signatures import Parameter

REWARDS = sys.modules[find("reward").__module__].built_in()
RECORDS = ("jsonl",)
DATA = ("jsonl", "json", "csv", "tsv", "parquet", "arrow", "gz", "zst", "bz2", "xz")
METRICS = (
    "reward", "pass@1", "accuracy", "format", "length", "thinking", "kl", "entropy", "clip", "logprob_gap", "truncated",
    "zero_variance", "grad_norm", "loss", "validation_loss", "lr",
)  # fmt: skip


class Values(NamedTuple):
    """What completes a value: words (one that ends with = goes on), and what is looked for on disk.

    places: "" nothing, "folders", "files" with these suffixes (none: any), "runs" or "models" (runs and model folders),
    both also with files of these suffixes if there are any. `optional`: the option may stand without a value.
    """

    words: tuple[str, ...] = ()
    places: str = ""
    suffixes: tuple[str, ...] = ()
    optional: bool = False


# By command and parameter where the metavar does not tell, by parameter, then by metavar.
NAMED = {
    ("init", "run"): Values(places="folders"),
    ("init", "task"): Values(TASKS, "files", RECORDS),
    ("sft", "out"): Values(places="folders"),
    "preset": Values(tuple(PRESETS)),
    "template": Values(templates.NAMES, "files"),
    "prompt_template": Values(tuple(questions.TEMPLATES), "files"),
    "weight": Values(tuple(f"{name}=" for name in REWARDS)),
    "correct_by": Values(REWARDS),
    "metric": Values(METRICS),
    "language": Values(("auto", *LANGUAGES), optional=True),
    "device": Values(("cpu", "cuda")),
    "finish_reason": Values(("stop", "length")),
    "model_size": Values(tuple(SHAPES)),
    "python": Values(places="files", suffixes=("py",)),
    ("prompts", "source"): Values(tuple(dict.fromkeys((*TASKS, *PRESETS))), "files", DATA),
    "output": Values(places="files"),
    "hostfile": Values(places="files"),
    "judge_prompt": Values(places="files"),
}
METAVARS = {
    "RUN": Values(places="runs"),
    "RUN|FILE": Values((), "runs", RECORDS),
    "CKPT": Values(("tiny", "tiny-student"), "models"),
    "CKPT|URL": Values(("tiny", "tiny-student"), "models"),
    "STUDENT": Values(("tiny", "tiny-student"), "models"),
    "BASE": Values(("tiny", "tiny-student"), "models"),
    "DIR": Values(places="folders"),
    "PROMPTS": Values(places="files", suffixes=RECORDS),
    "EXAMPLES": Values(places="files", suffixes=RECORDS),
    "FILE": Values(places="files", suffixes=RECORDS),
}


def of(command: str, parameter: Parameter) -> Values:
    """What completes a parameter of a command."""
    if parameter.choices:
        return Values(parameter.choices)
    metavar = parameter.metavar.replace("...", "").strip("[]")
    for known in (NAMED.get((command, parameter.name)), NAMED.get(parameter.name), METAVARS.get(metavar)):
        if known:
            return known
    return Values(places="files" if parameter.kind is Path else "")
