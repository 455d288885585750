"""`r1 serve --plan`: what a run would take of each GPU, whether it fits, and what to change if it does not.

The run says what it trains, samples and regularises; options change that. The formulas are memory.py's. Nothing is
loaded or started, and no GPU has to be there.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from r1cli.algorithms.settings import MICRO_TOKENS, GrpoSettings
from r1cli.backend import memory, trainers
from r1cli.backend.base import EngineOptions
from r1cli.backend.configfiles import read_json, require_file
from r1cli.backend.memory import GIB, Setup
from r1cli.backend.shapes import SHAPES, Shape, shape_of
from r1cli.errors import InputError
from r1cli.runs import Run

BATCH = {"questions": 32, "group": 16, "max_tokens": 32768}  # the paper's, as rollouts.py has them
PHASES = ("sampling", "passes", "step")
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Asked(NamedTuple):
    """The options that only a plan has; None is the run's own, or the default."""

    gpu_size: str | None = None
    model_size: str | None = None
    micro_tokens: int | None = None
    context: int | None = None
    lora: int | None = None


def report(run: Run, options: EngineOptions, asked: Asked) -> dict[str, Any]:
    """The plan as a record; memory in GiB. Raises InputError for sizes that are not known and options that conflict."""
    if options.device is not None and not options.device.startswith("cuda"):
        raise InputError(f"--plan is about GPUs; leave out --device {options.device}")
    size = gpu_bytes(asked.gpu_size or "80GB")
    name, shape, context = _model(run, asked)
    setup = _setup(run, options, asked, context)
    parts = memory.plan(shape, setup, size)
    need = memory.total(parts)
    trouble = _trouble(shape, setup, size)
    sums = [sum(part[phase] for part in parts) for phase in (1, 2, 3)]
    return {
        "model": name,
        "parameters": shape.parameters,
        "gpus": setup.gpus,
        "gpu": _gib(size),
        "trainer": "lora" if setup.lora else "torch" if setup.zero is None else f"zero {setup.zero}",
        "sampler": setup.sampler,
        "micro_tokens": setup.micro_tokens,
        "slots": setup.slots,
        "context": setup.context,
        "parts": {part.name: dict(zip((*PHASES, "host"), map(_gib, part[1:]), strict=True)) for part in parts},
        "total": dict(zip((*PHASES, "host"), map(_gib, (*sums, sum(part.host for part in parts))), strict=True)),
        "needed": _gib(need),
        "fits": need <= size and not trouble,
        "change": None if need <= size and not trouble else _advice(shape, setup, size, trouble),
    }


def table(record: dict[str, Any]) -> list[str]:
    """The plan for people: a line for each part, the sums, and the verdict."""
    lines = [
        f"{record['model']} ({record['parameters'] / 1e9:.2f}B), {record['gpus']} x {record['gpu']:.0f} GiB, "
        f"trainer {record['trainer']}, sampler {record['sampler']}; GiB on each GPU:",
        f"{'':26}{'sampling':>10}{'passes':>10}{'step':>10}{'host':>10}",
    ]
    for name, part in (*record["parts"].items(), ("total", record["total"])):
        lines.append(f"{name:26}" + "".join(f"{part[column]:10.1f}" for column in (*PHASES, "host")))
    verdict = "fits" if record["fits"] else f"does not fit: {record['change']}"
    return [*lines, f"needs {record['needed']:.1f} of {record['gpu']:.0f} GiB: {verdict}"]


def gpu_bytes(text: str) -> float:
    """The memory of a GPU as its maker calls it ("80GB", which is 80 GiB); raises InputError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:GB|GiB|G)", text, re.IGNORECASE)
    if not found or float(found[1]) <= 0:
        raise InputError(f"--gpu-size {text}: expected a size such as 80GB")
    return float(found[1]) * GIB


def _model(run: Run, asked: Asked) -> tuple[str, Shape, int]:
    """Name, shape and longest context of the model asked for by size, or of the run's own."""
    if asked.model_size is not None:
        shape = SHAPES.get(asked.model_size.upper())
        if shape is None:
            raise InputError(f"no model size {asked.model_size}: known are {', '.join(SHAPES)}")
        return asked.model_size.upper(), shape, BATCH["max_tokens"]
    folder = run.latest()
    path = require_file(folder, "config.json", "the architecture")
    config = read_json(folder, "config.json") or {}
    return (
        Path(run.config["base"]["name"]).name,
        shape_of(config, str(path)),
        config.get("max_position_embeddings", 2048),
    )


def _setup(run: Run, options: EngineOptions, asked: Asked, longest: int) -> Setup:
    said = run.config.get("lora") or {}
    rank = asked.lora or said.get("rank")
    world = options.gpus or 1
    if options.hostfile is not None or options.nnodes is not None:
        raise InputError("--plan counts all GPUs of all machines by --gpus; leave out --hostfile and --nnodes")
    if rank and (world > 1 or options.trainer == "deepspeed" or options.zero or options.offload):
        raise InputError("adapters train in one process, by torch; leave out --gpus, --zero, --offload and --trainer")
    many = world > 1 or options.trainer == "deepspeed"
    if not many and (options.zero or options.offload):
        raise InputError("--zero and --offload divide work among GPUs; give --gpus N or --trainer deepspeed")
    if options.trainer == "torch" and world > 1:
        raise InputError("--trainer torch is one process; leave out --trainer or --gpus")
    zero = (options.zero or trainers.ZERO) if many else None
    if options.offload == "all" and zero != 3:
        raise InputError("--offload all takes the weights off the card, which needs --zero 3")
    sample = BATCH | run.defaults("sample")
    grpo = run.defaults("grpo")
    context = asked.context or min(longest, sample["max_tokens"])
    # A batch is spread over the GPUs, and no GPU has more slots in use than its part of it.
    slots = min(options.slots or 512, -(-sample["questions"] * sample["group"] // world))
    targets = ADAPTED[:4] if said.get("targets") == "attention" and not asked.lora else ADAPTED
    return Setup(
        gpus=world,
        zero=zero,
        offload=options.offload or "none",
        checkpointing=bool(options.gradient_checkpointing),
        lora=rank,
        targets=targets if rank else (),
        reference=grpo.get("kl", GrpoSettings().kl) != 0,
        # One sequence that is longer has a micro-batch of its own.
        micro_tokens=max(asked.micro_tokens or grpo.get("micro_tokens") or MICRO_TOKENS["cuda"], context),
        slots=slots,
        context=context,
        sampler="vllm" if options.sampler == "vllm" else "torch",
        share=options.gpu_memory or memory.VLLM_SHARE,
        sleep=bool(options.sleep),
    )


def _trouble(shape: Shape, setup: Setup, size: float) -> str | None:
    """What no sum shows: a share that vLLM can't work in."""
    least = 2 * shape.parameters + 4 * shape.layers * shape.keys * setup.context
    if setup.sampler == "vllm" and setup.share * size < least:
        return f"vLLM's {setup.share:.0%} can't hold weights and one sample ({least / GIB:.1f} GiB)"
    return None


def _advice(shape: Shape, setup: Setup, size: float, trouble: str | None) -> str:
    """The first change, or the fewest of them in order, after which it fits; one line."""
    if trouble:
        return trouble
    for name, change in _changes(shape, setup, size):
        if not _excess(shape, replace(setup, **change), size):
            return f"add {name}"
    words: dict[str, str] = {}
    for name, change in _changes(shape, setup, size):
        tried = replace(setup, **change)
        if _excess(shape, tried, size) < _excess(shape, setup, size):
            setup = tried
            words[name.split()[0]] = name
        if not _excess(shape, setup, size):
            return f"add {' '.join(words.values())}"
    least = memory.total(memory.plan(shape, setup, size)) / GIB
    tried = " ".join(words.values()) or "all that could be changed"
    return f"even {tried} needs {least:.1f} GiB; take larger GPUs or more"


def _excess(shape: Shape, setup: Setup, size: float) -> float:
    """Bytes that do not fit, added up over the phases."""
    parts = memory.plan(shape, setup, size)
    return sum(max(0.0, sum(part[phase] for part in parts) - size) for phase in (1, 2, 3))


def _changes(shape: Shape, setup: Setup, size: float) -> list[tuple[str, dict[str, Any]]]:
    """What may be changed, the cheapest first, by the options that change it."""
    found: list[tuple[str, dict[str, Any]]] = []
    if setup.sampler == "vllm" and not setup.sleep:
        found.append(("--sleep", {"sleep": True}))
    if setup.sampler == "torch":
        free = size - sum(part.sampling for part in memory.plan(shape, replace(setup, slots=1), size))
        cache = 4 * shape.layers * shape.keys * setup.context
        fitting = 1 + int(free // cache) if free > 0 else 1
        if fitting < setup.slots:
            found.append((f"--slots {fitting}", {"slots": fitting}))
    if not setup.checkpointing:
        found.append(("--gradient-checkpointing", {"checkpointing": True}))
    if setup.micro_tokens > setup.context:
        found.append((f"--micro-tokens {setup.context}", {"micro_tokens": setup.context}))
    if setup.zero is not None:
        found += [(f"--zero {stage}", {"zero": stage}) for stage in range(setup.zero + 1, 4)]
        if setup.offload == "none":
            found.append(("--offload optimizer", {"offload": "optimizer"}))
        if setup.offload != "all":
            found.append(("--zero 3 --offload all", {"offload": "all", "zero": 3}))
    elif setup.lora is None:
        found.append(("--lora 32", {"lora": 32, "targets": ADAPTED}))
    return found


def _gib(value: float) -> float:
    return round(value / GIB, 3)
