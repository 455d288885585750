"""Memory of a process that trains, measured, beside what `r1 serve --plan` says of it.

Random models of three sizes are trained in fp32 on the CPU: by one process (TorchTrainer), by one with LoRA, and by two
ranks (gloo) under ZeRO 1, 2 and 3. Measured is the resident memory above what the same process has after its imports
and after an update of a tiny model (libraries, compiled kernels, gloo's buffers): when the trainer is built, the peak
of the forward and backward passes, and the peak of the update; the planner's total is held against the largest. Of two
ranks the larger one counts.

    python tests/bench/memory.py [--sizes 10M 50M 150M] [--kinds torch lora zero1 zero2 zero3]

stdout has one JSON object for each case, stderr a table. It needs the extras deepspeed and lora.
"""

import argparse
import ctypes
import gc
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LENGTHS = {"prompt": 16, "completion": 64}
GROUPS, GROUP = 4, 2  # a micro-batch of 144 tokens each
SHAPES = {
    "tiny": (512, 64, 128, 2, 2, 1, 32),
    "10M": (8192, 256, 768, 9, 4, 2, 64),
    "25M": (12288, 384, 1024, 10, 6, 2, 64),
    "50M": (16384, 512, 1536, 14, 8, 2, 64),
    "150M": (32768, 768, 2304, 18, 12, 4, 64),
}  # vocabulary, hidden, intermediate, layers, heads, key-value heads, head dimension
RANK = 16
MIB = 2**20


def config(size: str) -> dict[str, Any]:
    """The config.json of a size."""
    names = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim",
    )  # fmt: skip
    made = dict(zip(names, SHAPES[size], strict=True))
    return made | {"architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": False, "dtype": "float32"}


def write_model(folder: Path, size: str) -> Path:
    """A model folder of random weights."""
    import torch

    from r1cli.backend.checkpoint import save_weights
    from r1cli.backend.model import ModelConfig, Transformer

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config(size)))
    torch.manual_seed(0)
    save_weights(Transformer(ModelConfig.from_dict(config(size))), folder, dtype=torch.float32)
    return folder


def resident() -> float:
    """Bytes of memory that belong to this process alone or are shared and mapped, after giving back what is free."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return _status("VmRSS")


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def reset_peak() -> None:
    """Lets the peak begin anew at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def make_rollouts(vocabulary: int) -> list:
    """Groups of random tokens, all of one length."""
    from r1cli.backend.batches import Rollout

    draw = random.Random(0)
    rollouts = []
    for group in range(GROUPS):
        prompt = [draw.randrange(vocabulary) for _ in range(LENGTHS["prompt"])]
        for _ in range(GROUP):
            ids = [draw.randrange(vocabulary) for _ in range(LENGTHS["completion"])]
            reward = draw.random()
            rollouts.append(Rollout(prompt, ids, [], reward, {}, group, "stop", 1.0, LENGTHS["completion"], False))
    return rollouts


def build(kind: str, folder: Path, checkpointing: bool):
    """A trainer of the kind, with the folder's weights."""
    import torch

    from r1cli.backend.checkpoint import load_model

    if kind.startswith("zero"):
        from r1cli.backend.trainer_deepspeed import DeepSpeedTrainer
        from r1cli.backend.zero import ZeroSettings

        return DeepSpeedTrainer(folder, ZeroSettings(int(kind[-1]), "none", checkpointing), device="cpu")
    model = load_model(folder, dtype=torch.float32, device="cpu")
    model.checkpoint_layers = checkpointing
    if kind == "lora":
        from r1cli.backend.adapters import Lora
        from r1cli.backend.trainer_lora import LoraTrainer

        return LoraTrainer(model, Lora(RANK, 32.0, "all-linear", 0))
    from r1cli.backend.trainer_torch import TorchTrainer

    return TorchTrainer(model)


def train(trainer: Any, vocabulary: int, micro_tokens: int, reference: Any) -> dict[str, float]:
    """Two updates; of the second, with moments in place, the peaks of both halves, and what is held between them."""
    from r1cli.algorithms.settings import GrpoSettings
    from r1cli.backend.grpo import grpo_step

    settings = GrpoSettings(kl=0.001 if reference else 0.0, lr=1e-5, micro_tokens=micro_tokens)
    rollouts = make_rollouts(vocabulary)
    found: dict[str, float] = {}

    def between() -> None:
        found["passes"] = _status("VmHWM")
        found["gradients held"] = resident()
        reset_peak()

    for step in range(2):
        resident()
        reset_peak()
        grpo_step(trainer, rollouts, settings, reference=reference, stale=False, step=step, on_update=between)
        found["step"] = _status("VmHWM")
        found["after"] = resident()
    return found


def work(args: argparse.Namespace) -> None:
    """One rank: prints what it measured."""
    import torch

    torch.set_num_threads(1)
    if args.kind.startswith("zero"):
        torch.distributed.init_process_group("gloo")
    folder = Path(args.folder)
    for size in ("tiny", args.size):
        source = folder / size
        before = resident()
        trainer = build(args.kind, source, args.checkpointing)
        reference = trainer.open_reference(source) if args.reference else None
        built = resident()
        found = {"built": built} | train(trainer, SHAPES[size][0], args.micro_tokens, reference)
        if size == "tiny":
            del trainer, reference
    print(json.dumps({key: (value - before) / MIB for key, value in found.items()}))


def measure(args: argparse.Namespace, folder: Path, kind: str, size: str) -> dict[str, float]:
    """The largest of the ranks, by what was measured, in MiB."""
    ranks = 2 if kind.startswith("zero") else 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, "--worker", "--folder", str(folder), "--kind", kind, "--size", size]
    command += ["--micro-tokens", str(args.micro_tokens)]
    command += ["--checkpointing"] * args.checkpointing + ["--reference"] * args.reference
    common = os.environ | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1",
        # Large tensors go back to the system when they are freed, small ones lie in one heap.
        "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "DS_ACCELERATOR": "cpu",
    }  # fmt: skip
    children = [
        subprocess.Popen(
            command, env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.PIPE, text=True
        )
        for rank in range(ranks)
    ]
    outputs = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise SystemExit(f"{kind} {size}: a rank failed")
    records = [json.loads(output.splitlines()[-1]) for output in outputs]
    return {key: max(record[key] for record in records) for key in records[0]}


def compare(kind: str, size: str, args: argparse.Namespace, measured: dict[str, float]) -> dict[str, Any]:
    """The planner's sums beside the measured ones, in MiB, and how far its peak is off."""
    from r1cli.backend import memory
    from r1cli.backend.adapters import TARGETS
    from r1cli.backend.shapes import shape_of

    setup = memory.Setup(
        gpus=2 if kind.startswith("zero") else 1,
        zero=int(kind[-1]) if kind.startswith("zero") else None,
        checkpointing=args.checkpointing,
        lora=RANK if kind == "lora" else None,
        targets=TARGETS["all-linear"] if kind == "lora" else (),
        reference=args.reference,
        micro_tokens=GROUP * LENGTHS["completion"] + LENGTHS["prompt"],
        narrow=False,
    )
    # A process that only trains has no sampler.
    parts = [part for part in memory.plan(shape_of(config(size), size), setup, 0.0) if "cache" not in part.name]
    parts = [part for part in parts if part.name != "sampler's weights"]
    planned = {phase: sum(getattr(part, phase) for part in parts) / MIB for phase in ("passes", "step")}
    planned["built"] = sum(part.sampling for part in parts) / MIB
    peaks = [max(sums["passes"], sums["step"]) for sums in (planned, measured)]
    split = {part.name: [round(value / MIB, 1) for value in part[1:4]] for part in parts}
    return {
        "kind": kind, "size": size, "error": peaks[0] / peaks[1] - 1, "planned": planned, "measured": measured,
        "parts": split,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["10M", "50M", "150M"])
    parser.add_argument("--kinds", nargs="+", default=["torch", "lora", "zero1", "zero2", "zero3"])
    parser.add_argument("--micro-tokens", type=int, default=160)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--reference", action="store_true", help="with a KL term against a frozen copy")
    for hidden in ("--folder", "--kind", "--size"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args)
        return
    with tempfile.TemporaryDirectory() as name:
        for size in ("tiny", *args.sizes):
            write_model(Path(name) / size, size)
        for size in args.sizes:
            for kind in args.kinds:
                record = compare(kind, size, args, measure(args, Path(name), kind, size))
                print(json.dumps(record), flush=True)
                measured, planned = record["measured"], record["planned"]
                print(
                    f"{kind:6} {size:>5}  built {measured['built']:6.0f} (planned {planned['built']:6.0f})  "
                    f"passes {measured['passes']:6.0f} ({planned['passes']:6.0f})  "
                    f"step {measured['step']:6.0f} ({planned['step']:6.0f})  peak {record['error']:+.1%}",
                    file=sys.stderr,
                )


if __name__ == "__main__":
    main()
