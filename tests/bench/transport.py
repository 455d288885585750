"""What JSON and socket cost of a step with rollouts of 32,768 tokens: CPU seconds of all processes.

    OMP_NUM_THREADS=1 python tests/bench/transport.py [--tokens 32768 --rollouts 8]

The transport is measured by the real programs: rollouts of that length go through `r1 reward --python` and
`r1 grpo-step` into a resident backend, marked as dropped, so that the backend reads and checks all of them and computes
no gradient; what the same costs for rollouts of 8 tokens (starts of the programs, the optimizer) is not transport and
taken off. Added are the lines that the backend makes of its samples, and a copy of them from a socket to a pipe, as
`r1 sample` does. The step is the CPU time of sampling and updating on --step-tokens tokens an answer, per token: at
full length attention makes it dearer, so the share printed is an upper bound. Model: 3M parameters; for a larger one
the share is smaller.
"""

import argparse
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from sides import load_average, say

R1 = [sys.executable, "-m", "r1cli"]
REWARD = "def score(row):\n    return 1.0\n"


def cpu_of(pid: int) -> float:
    """User and system seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def output(*arguments: str | Path, given: bytes | None = None) -> bytes:
    """What an r1 command writes."""
    return subprocess.run([*R1, *map(str, arguments)], input=given, stdout=subprocess.PIPE, check=True).stdout


def lengthened(rollouts: bytes, tokens: int, dropped: bool) -> bytes:
    """The rollouts with other completions of the given length."""
    draw, lines = random.Random(0), []
    for line in rollouts.splitlines():
        record = json.loads(line)
        record["completion_ids"] = [draw.randrange(3, 300) for _ in range(tokens)]
        record["logprobs"] = [-draw.random() * 7 for _ in range(tokens)]
        record["completion"], record["finish"] = "word " * (tokens * 3 // 5), "length"
        record["sampling"]["max_tokens"] = tokens
        if dropped:
            record["dropped"] = "too long"
        lines.append(json.dumps(record).encode())
    return b"\n".join(lines) + b"\n"


def through(run: Path, backend: int, rollouts: bytes) -> dict[str, float]:
    """CPU seconds of backend and clients for a batch that goes through reward and grpo-step."""
    source = run.parent / "rollouts.jsonl"
    source.write_bytes(rollouts)
    before = cpu_of(backend), children()
    with source.open("rb") as lines:
        reward = subprocess.Popen(
            [*R1, "reward", "-q", "--python", f"{run.parent / 'reward.py'}:score"], stdin=lines, stdout=subprocess.PIPE
        )
        step = subprocess.Popen([*R1, "grpo-step", "-q"], stdin=reward.stdout, stdout=subprocess.DEVNULL)
        reward.stdout.close()
        if reward.wait() or step.wait():
            sys.exit("a stage failed")
    return {"backend": cpu_of(backend) - before[0], "clients": children() - before[1]}


def relayed(data: bytes) -> float:
    """CPU seconds to send the data over a socket, read it by lines and write them to a pipe that is read."""
    near, far = socket.socketpair()
    out, into = os.pipe()

    def drain() -> None:
        while os.read(out, 1 << 16):
            pass

    workers = [threading.Thread(target=near.sendall, args=(data,)), threading.Thread(target=drain)]
    began = time.process_time()
    for worker in workers:
        worker.start()
    with far.makefile("rb") as lines, os.fdopen(into, "wb") as pipe:
        left = len(data)
        while left:
            line = lines.readline()
            pipe.write(line)
            left -= len(line)
    for worker in workers:
        worker.join()
    return time.process_time() - began


def written(rollouts: bytes) -> float:
    """CPU seconds to make the lines of samples as the backend does: ids, log-probs and text to JSON."""
    import numpy
    import orjson

    records = [json.loads(line) for line in rollouts.splitlines()]
    arrays = [numpy.array(record["logprobs"], numpy.float32) for record in records]
    began = time.process_time()
    for record, logprobs in zip(records, arrays, strict=True):
        for key in ("completion", "completion_ids"):
            orjson.dumps(record[key])
        orjson.dumps(logprobs, option=orjson.OPT_SERIALIZE_NUMPY)
    return time.process_time() - began


def main() -> None:
    """Measures transport and step, and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--step-tokens", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    import checkpoints

    size = ("--questions", 1, "--group", args.rollouts, "--template", "raw")
    found: dict[str, list[float]] = {"long": [], "short": [], "lines": [], "relay": [], "step": []}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        checkpoints.write(home / "base", "3M")
        (home / "base" / "generation_config.json").write_text(json.dumps({"eos_token_id": [1000]}))
        (home / "reward.py").write_text(REWARD)
        (home / "questions.jsonl").write_text('{"id": "q", "prompt": "The quick brown fox jumps over"}\n')
        run = home / "run"
        output("init", run, "--from", home / "base", "--task", home / "questions.jsonl", "-q", "--save-every", 1000000)
        output("serve", run, "--detach", "-q")
        try:
            backend = json.loads((run / "serve.json").read_text())["pid"]
            for number in range(args.repeats + 1):
                for name, tokens in (("short", 8), ("long", args.tokens)):
                    drawn = output("sample", "-q", run, *size, "--max-tokens", tokens if tokens == 8 else 9)
                    rollouts = lengthened(drawn, tokens, True)
                    found[name].append(sum(through(run, backend, rollouts).values()))
                found["lines"].append(written(rollouts))
                found["relay"].append(relayed(rollouts))
                before = cpu_of(backend)
                drawn = output("sample", "-q", run, *size, "--max-tokens", args.step_tokens)
                judged = b"".join(
                    json.dumps({**json.loads(line), "rewards": {}, "reward": float(row % 2)}).encode() + b"\n"
                    for row, line in enumerate(drawn.splitlines())
                )
                output("grpo-step", "-q", "--kl", "0.001", given=judged)
                found["step"].append((cpu_of(backend) - before) / (args.step_tokens * args.rollouts))
                say(f"round {number}: " + ", ".join(f"{name} {values[-1]:.4f} s" for name, values in found.items()))
        finally:
            output("serve", run, "--stop", "-q")
    median = {name: statistics.median(values[1:]) for name, values in found.items()}
    transport = median["long"] - median["short"] + median["lines"] + median["relay"]
    step = median["step"] * args.tokens * args.rollouts
    result = {
        "settings": vars(args),
        "megabytes": round(len(rollouts) / 1e6, 2),
        "transport_cpu_s": round(transport, 4),
        "step_cpu_s": round(step, 2),
        "share": round(transport / (transport + step), 5),
        "parts": {name: round(value, 6) for name, value in median.items()},
        "load": load_average(),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
