"""One GRPO update, r1 against TRL's GRPOTrainer on the same rollouts and weights: CPU seconds and memory.

    OMP_NUM_THREADS=1 python tests/bench/trl_update.py [--sizes 3M 113M]

Both sides get the same token ids and rewards, run in fp32 with the reference KL on (beta 0.001), GRPO's loss with
sequence means, clip 0.2, gradient clipping at 1 and AdamW, each in a process of its own, in turn; after a round that is
not counted the medians count. What is timed: at TRL from the end of `_generate` (whose output is replaced by the given
ids) to the end of the optimizer step, thus padding, reference log-probs, rewards (a look-up), advantages, loss,
backward, clipping, AdamW; at r1 the whole of `grpo_step`, which does the same. TRL runs with micro-batches of 8 (its
default) and of the whole batch without gradient checkpointing, and once with its defaults, checkpointing included; the
ratio is against the fastest of them, the memory's against each. Prompts have --prompt tokens, about what the R1-Zero
template with a short question has; the shorter they are, the less a group shares. Lengths are `fixed`, or `ragged`:
every token an end with a chance of 1 in 64, at most --tokens. Memory is the peak above the imports: weights, reference,
gradients and AdamW's moments included, which are the same for both (`state_mb`).
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
GROUPS = {"3M": 8, "113M": 2}
# TRL's settings: rows of a micro-batch (0: the whole batch), gradient checkpointing.
TRL = {"trl_8": (8, False), "trl_whole": (0, False), "trl_default": (8, True)}


def rollouts(spec: Spec) -> list[dict[str, Any]]:
    """Groups of random ids with rewards of 0 or 1, at least one of each in a group."""
    draw = random.Random(spec["seed"])
    rows = []
    for group in range(spec["groups"]):
        prompt = [draw.randrange(3, spec["vocabulary"]) for _ in range(spec["prompt"] + group % 6)]
        for member in range(spec["group"]):
            length = spec["tokens"]
            if spec["case"] == "ragged":
                length = next((n for n in range(1, length) if draw.random() < 1 / 64), length)
            ids = [draw.randrange(3, spec["vocabulary"]) for _ in range(length)]
            reward = float(member % 2) if member < 2 else float(draw.random() < 0.5)
            rows.append({"prompt": prompt, "ids": ids, "reward": reward, "group": group})
    return rows


def play_ours(spec: Spec) -> None:
    """r1's side."""
    turns = Turns()
    import torch

    from r1cli.algorithms.settings import GrpoSettings
    from r1cli.backend import checkpoint
    from r1cli.backend.batches import Rollout
    from r1cli.backend.grpo import grpo_step
    from r1cli.backend.trainer_torch import TorchTrainer

    turns.imported()
    policy, reference = (checkpoint.load_model(spec["folder"], dtype=torch.float32, device="cpu") for _ in range(2))
    reference.requires_grad_(False)
    trainer = TorchTrainer(policy)
    batch = [
        Rollout(row["prompt"], row["ids"], [], row["reward"], {}, row["group"], "stop", 1.0, spec["tokens"])
        for row in rollouts(spec)
    ]
    settings = GrpoSettings(kl=0.001, lr=LEARNING_RATE, clip_low=0.2, clip_high=0.2)
    step = 0

    def work() -> Spec:
        nonlocal step
        (metrics,) = grpo_step(trainer, batch, settings, reference=reference, stale=False, step=step)
        step += 1
        return {"grad_norm": metrics["grad_norm"]}

    turns.play(work)


def play_trl(spec: Spec) -> None:
    """TRL's side: its training loop, with generation replaced by the given ids."""
    turns = Turns()
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, PrinterCallback, Qwen2ForCausalLM, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    turns.imported()
    rows = rollouts(spec)
    micro, checkpointing = TRL[spec["trl"]]
    micro = micro or len(rows)

    class Given(GRPOTrainer):
        began = spent = 0.0

        def _generate(self, prompts: list) -> tuple:
            turns.wait()
            given = super()._generate(prompts)
            self.began = time.process_time()
            return given

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            trainer.spent = time.process_time() - trainer.began

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "grad_norm" in logs:
                turns.report(trainer.spent, grad_norm=float(logs["grad_norm"]))

    def given(prompts: list, trainer: GRPOTrainer) -> dict[str, Any]:
        return {"prompt_ids": [r["prompt"] for r in rows], "completion_ids": [r["ids"] for r in rows], "logprobs": None}

    def reward(completions: list, **_: Any) -> list[float]:
        return [row["reward"] for row in rows]

    tokenizer = AutoTokenizer.from_pretrained(spec["folder"])
    tokenizer.pad_token = tokenizer.eos_token
    config = GRPOConfig(
        output_dir=spec["folder"] + "/trl",
        gradient_checkpointing=checkpointing,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=len(rows) // micro,
        num_generations=spec["group"],
        max_completion_length=spec["tokens"],
        learning_rate=LEARNING_RATE,
        epsilon=0.2,
        max_grad_norm=1.0,
        shuffle_dataset=False,
        **TRL_CONFIG,
    )
    model = Qwen2ForCausalLM.from_pretrained(spec["folder"], dtype=torch.float32)
    trainer = Given(
        model=model,
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": f"question {number}"} for number in range(spec["groups"])]),
        processing_class=tokenizer,
        rollout_func=given,
        callbacks=[Clock()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def compare(size: str, case: str, args: argparse.Namespace, folder: Path, vocabulary: int) -> Spec:
    """Both sides at one size and kind of lengths."""
    spec = {
        "folder": str(folder),
        "case": case,
        "groups": args.groups or GROUPS[size],
        "vocabulary": vocabulary,
        **{name: getattr(args, name) for name in ("group", "prompt", "tokens", "seed", "threads")},
    }
    say(f"{size}, {case} lengths")
    ours = Side(__file__, "ours", spec)
    theirs = [Side(__file__, "trl", {**spec, "trl": name}) for name in args.trl]
    sides = [ours, *theirs]
    for side, name in zip(theirs, args.trl, strict=True):
        side.name = name
    in_turn(sides, args.repeats)
    for side in sides:
        side.close()
    found = {side.name: summary(side) for side in sides}
    best = min(args.trl, key=lambda name: found[name]["cpu_s"])
    norms = [side.reports[0]["grad_norm"] for side in sides]
    rows = rollouts(spec)
    report = {
        "tokens": sum(len(row["ids"]) for row in rows),
        "prompt_tokens": sum(len(row["prompt"]) for row in rows),
        "ratio": round(found[best]["cpu_s"] / found["ours"]["cpu_s"], 2),
        "against": best,
        "memory_ratio": round(found[best]["peak_mb"] / found["ours"]["peak_mb"], 2),
        "memory_ratios": {name: round(found[name]["peak_mb"] / found["ours"]["peak_mb"], 2) for name in args.trl},
        "first_grad_norm_difference": max(abs(norm / norms[0] - 1) for norm in norms),
        **found,
        "load": load_average(),
    }
    say(f"{size}, {case}: {report['ratio']} times, memory {report['memory_ratio']} times ({best})")
    return report


def main() -> None:
    """Runs the sizes and cases one after another and prints one JSON object."""
    if sys.argv[1:2] == ["--side"]:
        play = {"ours": play_ours, "trl": play_trl}[sys.argv[2]]
        return play(json.loads(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=["3M", "113M"], default=["3M", "113M"])
    parser.add_argument("--cases", nargs="+", choices=["fixed", "ragged"], default=["fixed", "ragged"])
    parser.add_argument("--trl", nargs="+", choices=list(TRL), default=list(TRL), help="TRL's settings to try")
    parser.add_argument("--groups", type=int, help=f"questions of a batch (default {GROUPS})")
    parser.add_argument("--group", type=int, default=16, help="answers of a question")
    parser.add_argument(
        "--prompt", type=int, default=150, help="tokens of the shortest prompt; others have up to 5 more"
    )
    parser.add_argument("--tokens", type=int, default=128, help="most tokens of an answer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import checkpoints

    result: Spec = {"settings": vars(args)}
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            parameters = checkpoints.write(Path(folder), size)
            vocabulary = checkpoints.SIZES[size]["vocab_size"]
            # Policy, reference, gradient and two moments in fp32.
            result[size] = {"parameters": parameters, "state_mb": round(parameters * 20 / 2**20)}
            for case in args.cases:
                result[size][case] = compare(size, case, args, Path(folder), vocabulary)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
