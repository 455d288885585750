"""A whole GRPO iteration, the pipe with its resident backend against TRL's training step: CPU seconds of all processes.

    OMP_NUM_THREADS=1 python tests/bench/trl_iteration.py [--sizes 3M 113M]

Both sides start from the same random checkpoint and tokenizer, take the same questions (--prompt tokens: about the
R1-Zero template with a short question), sample 16 answers each at temperature 1, reward them by the same Python
function (written for TRL), and update with beta 0.001, fp32. Ours is `r1 sample | r1 reward --python | r1 grpo-step`
against `r1 serve`: counted are the backend and the three clients of each iteration, their starts included. TRL's is
GRPOTrainer with its own `generate`, from a step's begin to the end of its log, with micro-batches of 8 or of the whole
batch, without gradient checkpointing; the faster one counts. Neither side saves. `fixed`: no token ends an answer, so
all have --tokens tokens. `ragged`: one token in 64 of the vocabulary is an end token on both sides (in
generation_config.json), and a random model draws them all alike, so lengths are geometric; the draws are not the same,
hence the ratio is of CPU seconds per answer token. Sides work in turn.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sides import TRL_CONFIG, Side, Spec, Turns, in_turn, load_average, say
from sides import summary as times_of

QUESTIONS = {"3M": 8, "113M": 2}
ROWS = {"trl_8": 8, "trl_whole": 0}
R1 = [sys.executable, "-m", "r1cli"]
LEARNING_RATE = 1e-6
REWARD = """
def score(completions, **_):
    return [float(len(text) % 2) for text in completions]
"""


def ends(spec: Spec) -> list[int]:
    """The ids that end an answer: one in 64, or one beyond the vocabulary."""
    return list(range(50, spec["vocabulary"], 64)) if spec["case"] == "ragged" else [spec["vocabulary"] + 1]


def cpu_of(pid: int) -> float:
    """User and system seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def play_ours(spec: Spec) -> None:
    """r1's side: starts the backend, then runs the pipe at each turn."""
    turns = Turns()
    home = Path(spec["folder"]) / f"ours-{spec['case']}"
    home.mkdir()
    (home / "reward.py").write_text(REWARD)
    questions = "\n".join(json.dumps({"id": f"q{i}", "prompt": text}) for i, text in enumerate(spec["prompts"]))
    (home / "questions.jsonl").write_text(questions + "\n")
    run, base = str(home / "run"), spec["folder"]
    made = [*R1, "init", run, "--from", base, "--task", home / "questions.jsonl", "--template", "raw"]
    subprocess.run([*made, "-q", "--save-every", "1000000"], check=True)
    subprocess.run([*R1, "serve", run, "--detach", "-q"], check=True)
    backend = json.loads(Path(run, "serve.json").read_text())["pid"]
    options = {"questions": len(spec["prompts"]), "group": spec["group"], "max-tokens": spec["tokens"]}
    stages = [
        [*R1, "sample", "-q", run, *(str(word) for key, value in options.items() for word in (f"--{key}", value))],
        [*R1, "reward", "-q", "--python", f"{home / 'reward.py'}:score"],
        [*R1, "grpo-step", "-q", "--kl", "0.001", "--lr", str(LEARNING_RATE)],
    ]

    def clients() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    try:
        while not turns.over():
            before = cpu_of(backend), clients()
            processes: list[subprocess.Popen] = []
            for stage in stages:
                source = processes[-1].stdout if processes else subprocess.DEVNULL
                processes.append(subprocess.Popen(stage, stdin=source, stdout=subprocess.PIPE))
                if len(processes) > 1:
                    source.close()
            metrics = json.loads(processes[-1].stdout.read().splitlines()[-1])
            if any(process.wait() for process in processes):
                sys.exit("a stage failed")
            own, theirs = cpu_of(backend) - before[0], clients() - before[1]
            tokens = metrics["length_mean"] * len(spec["prompts"]) * spec["group"]
            turns.report(own + theirs, tokens=tokens, clients=theirs, seconds=metrics["seconds"])
    finally:
        subprocess.run([*R1, "serve", run, "--stop", "-q"], check=True)


def play_trl(spec: Spec) -> None:
    """TRL's side: its training loop as it is."""
    turns = Turns()
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, PrinterCallback, Qwen2ForCausalLM, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    turns.imported()
    rows = len(spec["prompts"]) * spec["group"]
    micro = ROWS[spec["trl"]] or rows

    class Clock(TrainerCallback):
        began = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            turns.wait()
            self.began = time.process_time()

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "completions/mean_length" in logs:
                tokens = float(logs["completions/mean_length"]) * rows
                turns.report(time.process_time() - self.began, tokens=tokens)

    scope: dict[str, Any] = {}
    exec(REWARD, scope)
    tokenizer = AutoTokenizer.from_pretrained(spec["folder"])
    tokenizer.pad_token = tokenizer.eos_token
    config = GRPOConfig(
        output_dir=spec["folder"] + "/trl",
        gradient_checkpointing=False,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=rows // micro,
        num_generations=spec["group"],
        max_completion_length=spec["tokens"],
        learning_rate=LEARNING_RATE,
        **TRL_CONFIG,
    )
    trainer = GRPOTrainer(
        model=Qwen2ForCausalLM.from_pretrained(spec["folder"], dtype=torch.float32),
        reward_funcs=scope["score"],
        args=config,
        train_dataset=Dataset.from_list([{"prompt": text} for text in spec["prompts"]]),
        processing_class=tokenizer,
        callbacks=[Clock()],
    )
    # Its own end tokens come from the checkpoint, and the tokenizer's besides: here only the case's.
    trainer.eos_token_ids = ends(spec)
    trainer.generation_config.eos_token_id = trainer.generation_kwargs["eos_token_id"] = ends(spec)
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def compare(size: str, case: str, args: argparse.Namespace, folder: Path, vocabulary: int) -> Spec:
    """Both sides at one size and kind of lengths."""
    count = args.questions or QUESTIONS[size]
    # Byte by byte these are tokens: the tokenizer of the random checkpoints merges nothing.
    prompts = [f"The quick brown fox jumps {12 + i} + {30 + i} times, over " for i in range(count)]
    prompts = [(text * (1 + args.prompt // len(text)))[: args.prompt] for text in prompts]
    spec = {"folder": str(folder), "case": case, "prompts": prompts, "vocabulary": vocabulary}
    spec |= {name: getattr(args, name) for name in ("group", "tokens", "threads")}
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends(spec)}))
    say(f"{size}, {case} lengths")
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
        rate = sum(r["cpu_s"] for r in counted) / sum(r["tokens"] for r in counted)
        found[side.name] = times_of(side) | {
            "tokens": round(sum(r["tokens"] for r in counted) / len(counted)),
            "cpu_ms_per_token": round(1000 * rate, 4),
        }
    clients = sorted(report["clients"] for report in sides[0].reports[1:])
    best = min(args.trl, key=lambda name: found[name]["cpu_ms_per_token"])
    ratio = found[best]["cpu_ms_per_token"] / found["ours"]["cpu_ms_per_token"]
    say(f"{size}, {case}: {ratio:.2f} times ({best})")
    return {
        "ratio": round(ratio, 2),
        "against": best,
        "clients_cpu_s": round(clients[len(clients) // 2], 3),
        **found,
        "load": load_average(),
    }


def main() -> None:
    """Runs the sizes and cases one after another and prints one JSON object."""
    if sys.argv[1:2] == ["--side"]:
        return {"ours": play_ours, "trl": play_trl}[sys.argv[2]](json.loads(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=["3M", "113M"], default=["3M", "113M"])
    parser.add_argument("--cases", nargs="+", choices=["fixed", "ragged"], default=["fixed", "ragged"])
    parser.add_argument("--trl", nargs="+", choices=list(ROWS), default=list(ROWS), help="TRL's micro-batches to try")
    parser.add_argument("--questions", type=int, help=f"questions of an iteration (default {QUESTIONS})")
    parser.add_argument("--group", type=int, default=16, help="answers of a question")
    parser.add_argument("--prompt", type=int, default=150, help="tokens of a prompt")
    parser.add_argument("--tokens", type=int, default=128, help="most tokens of an answer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import checkpoints

    result: Spec = {"settings": vars(args)}
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            result[size] = {"parameters": checkpoints.write(Path(folder), size)}
            vocabulary = checkpoints.SIZES[size]["vocab_size"]
            for case in args.cases:
                result[size][case] = compare(size, case, args, Path(folder), vocabulary)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
