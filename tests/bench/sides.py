"""Two sides of a comparison as processes of their own that work in turn, and what one measures of itself.

The programs here that compare r1 with something else start each side by `Side`; the side waits for its turn, does a
round and says its CPU seconds and memory. So neither side's caches or allocator can help or harm the other, other load
falls on both, and memory is that of the process above its imports.
"""

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

Spec = dict[str, Any]

# What every GRPOConfig here says: fp32 on a CPU, the KL on, nothing saved.
TRL_CONFIG = {
    "use_cpu": True,
    "bf16": False,
    "max_steps": 1000,
    "lr_scheduler_type": "constant",
    "beta": 0.001,
    "use_bias_correction_kl": False,
    "loss_type": "grpo",
    "weight_decay": 0.0,
    "logging_steps": 1,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}


class Side:
    """A program of this directory, started as `python PROGRAM --side NAME SPEC`."""

    def __init__(self, program: str, name: str, spec: Spec):
        environment = {**os.environ, "OMP_NUM_THREADS": str(spec.get("threads", 1))}
        command = [sys.executable, program, "--side", name, json.dumps(spec)]
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.reports: list[Spec] = []

    def round(self) -> Spec:
        """One turn; what the side says of it."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the {self.name} side ended with code {self.process.wait()}")
        self.reports.append(json.loads(line))
        return self.reports[-1]

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Turns:
    """A side's end of it: when it is on, and its report. Whatever else it prints goes to stderr."""

    def __init__(self) -> None:
        self.replies = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self.before = 0.0

    def imported(self) -> None:
        """Everything is imported: memory counts from here on."""
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # the kernel forgets the highest mark of before
        self.before = memory("VmRSS")

    def wait(self) -> None:
        """Returns at the side's turn, and ends the process when there is none any more."""
        if self.over():
            os._exit(0)

    def over(self) -> bool:
        """Waits for the side's turn; whether there is none any more."""
        return not sys.stdin.readline()

    def report(self, cpu: float, **more: Any) -> None:
        """Says the CPU seconds of a round and the highest memory so far."""
        found = {"cpu_s": cpu, "peak_mb": memory("VmHWM") - self.before, **more}
        self.replies.write(json.dumps(found) + "\n")
        self.replies.flush()

    def play(self, work: Callable[[], Spec]) -> None:
        """Rounds of a side that can be called: `work` returns what to say besides time and memory."""
        while True:
            self.wait()
            began = time.process_time()
            more = work()
            self.report(time.process_time() - began, **more)


def memory(name: str) -> float:
    """A line of this process's /proc/self/status in MB (VmRSS, VmHWM); 0 where the system has none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":")), 0.0)


def in_turn(sides: list[Side], repeats: int) -> None:
    """A round of each side that is not counted, then `repeats` that are."""
    for number in range(repeats + 1):
        for side in sides:
            found = side.round()
            say(f"  round {number} {side.name}: {found['cpu_s']:.2f} s, {found['peak_mb']:.0f} MB")


def summary(side: Side) -> Spec:
    """Medians of a side's counted rounds, all of its times, and its highest memory."""
    times = [report["cpu_s"] for report in side.reports[1:]]
    return {
        "cpu_s": round(median(times), 4),
        "all_cpu_s": [round(value, 3) for value in times],
        "peak_mb": round(max(report["peak_mb"] for report in side.reports)),
    }


def load_average() -> list[float]:
    """The machine's load over 1, 5 and 15 minutes: what the figures were disturbed by."""
    return [round(value, 2) for value in os.getloadavg()]


def say(text: str) -> None:
    """A line for the person who waits."""
    print(text, file=sys.stderr, flush=True)
