"""Supervised fine-tuning, r1's `sft_step` against TRL's SFTTrainer on the same rows: CPU seconds per trained token.

    OMP_NUM_THREADS=1 python tests/bench/trl_sft.py [--sizes 3M 113M]

Both sides get the same token ids, train on the completions only, in fp32, with gradient clipping at 1 and AdamW, each
in a process of its own, in turn; the first round is not counted. A round is one update. Prompts have 16 to 64 tokens,
completions are geometric with a mean of --mean tokens, at most --tokens. r1 packs an update's rows; TRL pads
micro-batches of 8 (`trl_8`, its default) or packs into rows of --length tokens (`trl_packed`, strategy bfd), as many
rows as hold about the same tokens; both without gradient checkpointing, the faster one counts. What is timed is TRL's
training step from its begin to the end of its log, data collator included, and the whole of `sft_step`.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sides import TRL_CONFIG, Side, Spec, Turns, in_turn, load_average, say, summary

LEARNING_RATE = 1e-6
ROWS = {"3M": 128, "113M": 16}
TRL = ("trl_8", "trl_packed")
# What TRL_CONFIG says to GRPO alone.
GRPO_ONLY = ("beta", "use_bias_correction_kl", "loss_type")


def rows(spec: Spec) -> list[tuple[list[int], list[int]]]:
    """Prompts and completions of all rounds, random ids."""
    draw = random.Random(0)
    found = []
    for _ in range(spec["rows"] * spec["rounds"]):
        length = next((n for n in range(1, spec["tokens"]) if draw.random() < 1 / spec["mean"]), spec["tokens"])
        sizes = draw.randint(16, 64), length
        found.append(tuple([draw.randrange(3, spec["vocabulary"]) for _ in range(size)] for size in sizes))
    return found


def play_ours(spec: Spec) -> None:
    """r1's side."""
    turns = Turns()
    import torch

    from r1cli.algorithms.sft_settings import SftSettings
    from r1cli.backend import checkpoint
    from r1cli.backend.sft import Example, sft_step
    from r1cli.backend.trainer_torch import TorchTrainer

    turns.imported()
    trainer = TorchTrainer(checkpoint.load_model(spec["folder"], dtype=torch.float32, device="cpu"))
    examples = [Example(prompt, completion, None, at) for at, (prompt, completion) in enumerate(rows(spec))]
    settings = SftSettings(lr=LEARNING_RATE).over(spec["rounds"])
    step = 0

    def work() -> Spec:
        nonlocal step
        metrics = sft_step(trainer, examples[step * spec["rows"] : (step + 1) * spec["rows"]], settings, step=step)
        step += 1
        return {"labels": metrics["labelled_tokens"], "loss": metrics["loss"]}

    turns.play(work)


def play_trl(spec: Spec) -> None:
    """TRL's side: its training loop on rows of ids."""
    turns = Turns()
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, PrinterCallback, Qwen2ForCausalLM, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    turns.imported()
    given = rows(spec)
    packed = spec["trl"] == "trl_packed"
    total = sum(len(prompt) + len(completion) for prompt, completion in given)

    class Counting(SFTTrainer):
        labels = 0

        def compute_loss(self, model: Any, inputs: dict, *args: Any, **kwargs: Any) -> Any:
            self.labels += int((inputs["labels"] != -100).sum())
            return super().compute_loss(model, inputs, *args, **kwargs)

    class Clock(TrainerCallback):
        began = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            turns.wait()
            self.began, trainer.labels = time.process_time(), 0

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "grad_norm" in logs:
                turns.report(time.process_time() - self.began, labels=trainer.labels, loss=float(logs["loss"]))

    tokenizer = AutoTokenizer.from_pretrained(spec["folder"])
    tokenizer.pad_token = tokenizer.eos_token
    common = {name: value for name, value in TRL_CONFIG.items() if name not in GRPO_ONLY}
    per_update = max(1, round(total / spec["rounds"] / spec["length"])) if packed else spec["rows"]
    micro = 1 if packed else 8
    config = SFTConfig(
        output_dir=spec["folder"] + "/trl",
        gradient_checkpointing=False,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=per_update // micro,
        learning_rate=LEARNING_RATE,
        max_grad_norm=1.0,
        max_length=spec["length"],
        completion_only_loss=True,
        packing=packed,
        train_sampling_strategy="sequential",
        **common,
    )
    columns = [
        {"input_ids": prompt + completion, "completion_mask": [0] * len(prompt) + [1] * len(completion)}
        for prompt, completion in given
    ]
    trainer = Counting(
        model=Qwen2ForCausalLM.from_pretrained(spec["folder"], dtype=torch.float32),
        args=config,
        train_dataset=Dataset.from_list(columns),
        processing_class=tokenizer,
        callbacks=[Clock()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def compare(size: str, args: argparse.Namespace, folder: Path, vocabulary: int) -> Spec:
    """Both sides at one size."""
    spec = {
        "folder": str(folder),
        "rows": args.rows or ROWS[size],
        "rounds": args.repeats + 1,
        "vocabulary": vocabulary,
        **{name: getattr(args, name) for name in ("mean", "tokens", "length", "threads")},
    }
    say(size)
    sides = [Side(__file__, "ours", spec)]
    for name in args.trl:
        sides.append(Side(__file__, "trl", {**spec, "trl": name}))
        sides[-1].name = name
    in_turn(sides, args.repeats)
    for side in sides:
        side.close()
    found = {}
    for side in sides:
        counted = side.reports[1:]
        labels = sum(report["labels"] for report in counted)
        seconds = sum(report["cpu_s"] for report in counted)
        found[side.name] = summary(side) | {
            "labels": labels,
            "labels_per_cpu_s": round(labels / seconds, 1),
            "first_loss": side.reports[0]["loss"],
        }
    best = max(args.trl, key=lambda name: found[name]["labels_per_cpu_s"])
    ratio = found["ours"]["labels_per_cpu_s"] / found[best]["labels_per_cpu_s"]
    say(f"{size}: {ratio:.2f} times ({best})")
    return {"ratio": round(ratio, 2), "against": best, **found, "load": load_average()}


def main() -> None:
    """Runs the sizes one after another and prints one JSON object."""
    if sys.argv[1:2] == ["--side"]:
        return {"ours": play_ours, "trl": play_trl}[sys.argv[2]](json.loads(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=["3M", "113M"], default=["3M", "113M"])
    parser.add_argument("--trl", nargs="+", choices=TRL, default=list(TRL), help="TRL's settings to try")
    parser.add_argument("--rows", type=int, help=f"rows of an update (default {ROWS})")
    parser.add_argument("--mean", type=int, default=100, help="mean tokens of a completion")
    parser.add_argument("--tokens", type=int, default=512, help="most tokens of a completion")
    parser.add_argument("--length", type=int, default=2048, help="tokens of a packed row of TRL's")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import checkpoints

    result: Spec = {"settings": vars(args)}
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            result[size] = {"parameters": checkpoints.write(Path(folder), size)}
            vocabulary = checkpoints.SIZES[size]["vocab_size"]
            result[size] |= compare(size, args, Path(folder), vocabulary)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
