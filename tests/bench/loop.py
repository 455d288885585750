"""What the pipe costs over calling the same updates in one process: CPU seconds, both sides in turn, medians.

    python tests/bench/loop.py [--updates 60] [--rounds 3]

Pipe: r1 sample | r1 reward | r1 grpo-step as three processes against the resident backend, saving every step. One
process: the same engine, rewards and updates by function calls, without JSON and saving. Prints one JSON object.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REWARD = ("--format", "--accuracy", "--weight", "format=0.3")
WEIGHTS = {"format": 0.3, "accuracy": 1.0}
R1 = [sys.executable, "-m", "r1cli"]


def cpu_of(pid: int) -> float:
    """User and system seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spent_by_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def pipe(run: Path, updates: int) -> dict[str, float]:
    """The loop as a user writes it; clients and backend are counted apart."""
    subprocess.run([*R1, "init", run, "--from", "tiny", "-q"], check=True)
    subprocess.run([*R1, "serve", run, "--detach", "-q"], check=True)
    backend = json.loads((run / "serve.json").read_text())["pid"]
    ready, clients, began = cpu_of(backend), spent_by_children(), time.perf_counter()
    for _ in range(updates):
        sample = subprocess.Popen([*R1, "sample", "-q", run], stdout=subprocess.PIPE)
        reward = subprocess.Popen([*R1, "reward", "-q", *REWARD], stdin=sample.stdout, stdout=subprocess.PIPE)
        step = subprocess.Popen([*R1, "grpo-step", "-q"], stdin=reward.stdout, stdout=subprocess.DEVNULL)
        for stage in (sample, reward):
            stage.stdout.close()
        if any(stage.wait() for stage in (sample, reward, step)):
            sys.exit("a stage failed")
    wall = time.perf_counter() - began
    result = {"backend": cpu_of(backend) - ready, "clients": spent_by_children() - clients, "wall": wall}
    subprocess.run([*R1, "serve", run, "--stop", "-q"], check=True)
    return result


ONE_PROCESS = """
import sys, time
from pathlib import Path
from r1cli import rewards
from r1cli.backend.base import EngineOptions
from r1cli.backend.engine import Engine
from r1cli.records import Batches
from r1cli.runs import Run
import orjson

run = Run.open(Path(sys.argv[1]))
engine = Engine(run.latest(), run, EngineOptions(), print)
weights, options = orjson.loads(sys.argv[3]), rewards.Options()
began = time.process_time()
for _ in range(int(sys.argv[2])):
    job = engine.plan({}, None)
    for group in job.groups:
        engine.sampler.add(group)
    batch = Batches()
    while engine.sampler.busy:
        for group, samples in engine.sampler.step():
            question = group.key[1]
            prompt = orjson.loads(job.prefixes[question] + b"}")
            tail = orjson.loads(b"{" + job.suffixes[question][1:])
            for index, sample in enumerate(samples):
                ids = sample.ids[:-1] if sample.finish == "stop" else sample.ids
                record = {
                    **prompt, **tail, "completion": engine.tokenizer.decode(ids), "prompt_ids": group.prompt_ids,
                    "completion_ids": sample.ids, "logprobs": sample.logprobs.tolist(), "finish": sample.finish,
                    "group": {"id": job.group_ids[question], "index": index, "size": job.size},
                }
                batch.add(record | rewards.judge(record, weights, options), "here")
    engine.grpo_step(batch, {"save_every": 1 << 30})
print(time.process_time() - began)
"""


def one_process(run: Path, updates: int) -> float:
    """CPU seconds of the same updates by function calls."""
    subprocess.run([*R1, "init", run, "--from", "tiny", "-q"], check=True)
    command = [sys.executable, "-c", ONE_PROCESS, run, str(updates), json.dumps(WEIGHTS)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    pipes, calls = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            pipes.append(pipe(Path(folder) / f"pipe{number}", arguments.updates))
            calls.append(one_process(Path(folder) / f"calls{number}", arguments.updates))
    totals = [p["backend"] + p["clients"] for p in pipes]
    result = {
        "updates": arguments.updates,
        "rounds": arguments.rounds,
        "pipe_cpu": statistics.median(totals),
        "one_process_cpu": statistics.median(calls),
        "ratio": statistics.median(t / c for t, c in zip(totals, calls, strict=True)),
        "clients_cpu_per_loop": statistics.median(p["clients"] for p in pipes) / arguments.updates,
        "backend_cpu_per_loop": statistics.median(p["backend"] for p in pipes) / arguments.updates,
        "wall": statistics.median(p["wall"] for p in pipes),
    }
    print(json.dumps({k: round(v, 4) for k, v in result.items()}))


if __name__ == "__main__":
    main()
