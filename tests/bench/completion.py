"""What a TAB costs in bash, by kind of word: JSON on standard output, the slowest on standard error.

    python tests/bench/completion.py [--repeats N]

Each line is completed N times in one shell, in a folder with ten runs and a hundred files: CPU time of the shell, less
what it takes to start; the median of ten rounds. What the shell does before and after (reading keys, drawing) is not
ours and not counted.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COMPLETIONS = Path(__file__).parents[2] / "completions"
LINES = {
    "command": "r1 sam",
    "option": "r1 grpo-step --",
    "choice": "r1 grpo-step --correction t",
    "preset": "r1 eval runs/run0 --preset m",
    "checkpoint": "r1 sample runs/",
    "file": "r1 filter f",
    "last option of a long line": f"r1 grpo-step {'--lr 1 --kl 0 ' * 10}--save",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=50)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(10):
            (folder / "runs" / f"run{number}").mkdir(parents=True)
            (folder / "runs" / f"run{number}" / "run.json").touch()
        for number in range(100):
            (folder / f"file{number}.jsonl").touch()
        found = {
            kind: statistics.median(
                (_seconds(line, repeats, folder) - _seconds(line, 0, folder)) * 1000 / repeats for _ in range(10)
            )
            for kind, line in LINES.items()
        }
    print(json.dumps({"milliseconds": found}))
    slowest = max(found, key=found.__getitem__)
    print(f"slowest: {slowest}, {found[slowest]:.2f} ms a TAB", file=sys.stderr)


def _seconds(line: str, repeats: int, folder: Path) -> float:
    """CPU seconds of a shell that completes the line so many times."""
    words = line.split()
    script = f"""source {COMPLETIONS}/r1.bash
        COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
        for ((i = 0; i < {repeats}; i++)); do _r1; done
        (({repeats} == 0 || ${{#COMPREPLY[@]}}))
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["bash", "--norc", "-c", script], cwd=folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
