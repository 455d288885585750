"""How soon r1 show is there on a file of a million lines, and what memory it takes: JSON on stdout, text on stderr.

    python tests/bench/show.py [--lines 1000000]

For each way of showing: seconds until the first bytes come out of a pipe that is then closed, and the peak memory of
the process. The file is written first, with completions of a few hundred letters.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from operator import itemgetter
from pathlib import Path

FIRST = "seconds_to_first_output"
WAYS = (["show"], ["show", "--groups"], ["show", "-f", "id", "-f", "reward"])


def write(path: Path, lines: int) -> None:
    thought = "Ann 4, Bob 1 makes 5. " * 12
    with path.open("w") as file:
        for line in range(lines):
            record = {
                "id": f"q{line // 16}", "prompt": "Ann 4, Bob 1. Total?", "answer": "5", "reward": line % 2,
                "completion": f"<think>{thought}</think><answer>5</answer>", "rewards": {"accuracy": line % 2},
                "group": {"id": f"g{line // 16}", "index": line % 16, "size": 16},
            }  # fmt: skip
            file.write(json.dumps(record) + "\n")


def measure(way: list[str], path: Path) -> dict[str, float]:
    """Seconds to the first output, and MB of memory at its peak when the reader leaves."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "r1cli", *way, path], stdout=subprocess.PIPE)
    os.read(process.stdout.fileno(), 1)
    first = time.perf_counter() - began
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return {FIRST: round(first, 3), "peak_mb": round(usage.ru_maxrss / 1024, 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=1_000_000)
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rollouts.jsonl"
        write(path, lines)
        size = path.stat().st_size
        found = {" ".join(way): min((measure(way, path) for _ in range(5)), key=itemgetter(FIRST)) for way in WAYS}
    print(json.dumps({"lines": lines, "bytes": size, "ways": found}))
    for way, numbers in found.items():
        print(
            f"r1 {way}: {lines:,} lines ({size / 1e6:.0f} MB): first output after "
            f"{numbers[FIRST]:.2f} s, {numbers['peak_mb']:.0f} MB at the peak",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
