"""Seconds of a whole GRPO iteration on a GPU: our pipe with `r1 serve` against TRL with vLLM colocated; JSON on stdout.

Both take the same random-weight model in bf16, the same questions and lengths, KL 0.001 and one trivial Python reward.
Each side runs in processes of its own, in turn, so that neither sits in the other's memory; the first two iterations
(compilation, graphs, start-up) are not counted. Ours is the pipe of the README: sample | reward | grpo-step.

    python tests/bench/gpu_iteration.py --shape qwen2.5-0.5b
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_models import SHAPES, describe, find_device, write_model

R1 = [sys.executable, "-m", "r1cli"]
WARM_UP = 2
# Depends on the sample, so that groups have variance; for TRL and for us the same.
REWARD = "def score(completions, **_):\n    return [float(sum(map(ord, text)) % 7) for text in completions]\n"


def write_questions(file: Path, count: int, words: int, vocabulary: int) -> None:
    """Questions of equally many tokens."""
    draw = random.Random(0)
    texts = (" ".join(f"w{draw.randrange(1, vocabulary)}" for _ in range(words)) for _ in range(count))
    file.write_text("".join(json.dumps({"prompt": text, "answer": ""}) + "\n" for text in texts))


def run_ours(work: Path, arguments: argparse.Namespace) -> list[float]:
    """Wall seconds of each iteration of the pipe."""
    run = work / "run"
    subprocess.run(
        [*R1, "init", "-q", run, "--from", work / "model", "--task", work / "questions.jsonl", "--template", "raw"],
        check=True,
    )
    serve = [*R1, "serve", "-q", run, "--detach", "--device", arguments.device, "--gradient-checkpointing"]
    subprocess.run([*serve, "--sampler", arguments.sampler], check=True)
    sample = [*R1, "sample", "-q", run, "--questions", str(arguments.questions), "--group", str(arguments.group)]
    sample += ["--max-tokens", str(arguments.tokens)]
    reward = [*R1, "reward", "-q", "--python", f"{work / 'reward.py'}:score"]
    update = [*R1, "grpo-step", "-q", "--kl", "0.001", "--lr", "1e-6", "--save-every", "1000"]
    seconds = []
    try:
        for _ in range(arguments.iterations + WARM_UP):
            began = time.perf_counter()
            first = subprocess.Popen(sample, stdout=subprocess.PIPE)
            second = subprocess.Popen(reward, stdin=first.stdout, stdout=subprocess.PIPE)
            third = subprocess.Popen(update, stdin=second.stdout, stdout=subprocess.DEVNULL)
            first.stdout.close()
            second.stdout.close()
            if any(stage.wait() for stage in (first, second, third)):
                sys.exit(f"a stage of the pipe failed; see {run}/serve.log")
            seconds.append(time.perf_counter() - began)
    finally:
        subprocess.run([*R1, "serve", "-q", run, "--stop"], check=False)
    return seconds[WARM_UP:]


def run_trl(work: Path, arguments: argparse.Namespace) -> list[float]:
    """Wall seconds of each of TRL's steps, in this process."""
    import datasets
    import transformers
    from trl import GRPOConfig, GRPOTrainer

    namespace: dict[str, Any] = {}
    exec(REWARD, namespace)
    rows = [json.loads(line) for line in (work / "questions.jsonl").read_text().splitlines()]
    cuda = arguments.device.startswith("cuda")
    config = GRPOConfig(
        output_dir=str(work / "trl"),
        max_steps=arguments.iterations + WARM_UP,
        learning_rate=1e-6,
        beta=0.001,
        num_generations=arguments.group,
        per_device_train_batch_size=arguments.trl_batch,
        gradient_accumulation_steps=arguments.questions * arguments.group // arguments.trl_batch,
        max_completion_length=arguments.tokens,
        gradient_checkpointing=True,
        bf16=cuda,
        use_cpu=not cuda,
        use_vllm=cuda,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        **({"vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.35} if cuda else {}),
    )
    seconds: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.began)

    trainer = GRPOTrainer(
        model=str(work / "model"),
        reward_funcs=namespace["score"],
        args=config,
        train_dataset=datasets.Dataset.from_list(rows),
        callbacks=[Clock()],
    )
    trainer.train()
    return seconds[WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="qwen2.5-0.5b")
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=128, help="tokens of a question")
    parser.add_argument("--tokens", type=int, default=512, help="tokens of a completion")
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sampler", choices=("vllm", "torch"), default="vllm")
    parser.add_argument("--trl-batch", type=int, default=16, help="TRL's per_device_train_batch_size")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", choices=("trl",), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        seconds = run_trl(arguments.work, arguments)
        (arguments.work / "trl.json").write_text(json.dumps(seconds))
        return
    device = find_device(arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_model(work / "model", arguments.shape)
        (work / "reward.py").write_text(REWARD)
        count = arguments.questions * (arguments.iterations + WARM_UP)
        write_questions(work / "questions.jsonl", count, arguments.prompt, SHAPES[arguments.shape]["vocab_size"])
        found: dict[str, list[float]] = {"ours": [], "trl": []}
        for _ in range(arguments.rounds):
            subprocess.run(["rm", "-rf", work / "run", work / "trl"], check=True)
            found["ours"] += run_ours(work, arguments)
            again = [sys.executable, __file__, *sys.argv[1:], "--side", "trl", "--work", str(work)]
            subprocess.run(again, check=True, stdout=sys.stderr)
            found["trl"] += json.loads((work / "trl.json").read_text())
    medians = {name: statistics.median(values) for name, values in found.items()}
    ratio = medians["trl"] / medians["ours"]
    shown = {name: value for name, value in vars(arguments).items() if name not in ("side", "work")}
    print(json.dumps({**describe(device), "settings": shown, "seconds": medians, "ratio": ratio}))
    print(f"ours {medians['ours']:.2f} s, TRL {medians['trl']:.2f} s an iteration: {ratio:.2f} times", file=sys.stderr)


if __name__ == "__main__":
    main()
