"""What reading examples for r1 sft costs: CPU and wall seconds, and memory above the imports, as JSON.

Each row is a prompt and a completion of about `--tokens` tokens of random words, tokenised by the checkpoint's own
tokenizer. A list of parsed records is measured beside it, for comparison.

    python tests/bench/sft_data.py --rows 100000
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

from r1cli.backend.conversations import Drafter
from r1cli.backend.examples import Reader
from r1cli.backend.tokenizer import Tokenizer

WORDS = ("Ann ", "Bob ", " makes ", ", wait, ", "1", "2", "3", ". Check: ", ", Cat ", "7", "0")


def lines(rows: int, tokens: int) -> object:
    """Generated lines: nothing of them is in memory before they are asked for."""
    draw = random.Random(0)
    for row in range(rows):
        text = "".join(draw.choices(WORDS, k=draw.randint(tokens // 2, tokens * 3 // 2)))
        yield json.dumps({"prompt": f"{row}. Total?", "completion": text}).encode(), f"x.jsonl:{row + 1}"


def measure(rows: int, tokens: int, way: str, model: Path) -> dict:
    """One way in this process: ours, or a list of records."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, wall = time.process_time(), time.perf_counter()
    if way == "records":
        kept = [json.loads(line) for line, _ in lines(rows, tokens)]
        size = len(kept)
    else:
        drafter = Drafter(Tokenizer.load(model), "r1-zero", 1 << 20)
        reader = Reader(drafter, 1 << 20, loss="completion", max_length=None, skip_bad=False)
        examples = reader.read(lines(rows, tokens), print)
        size = len(examples.tokens)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = {"cpu_s": time.process_time() - began, "wall_s": time.perf_counter() - wall}
    return {"way": way, "kept": size, **{k: round(v, 2) for k, v in spent.items()}, "mb": round((peak - before) / 1024)}


def main() -> None:
    """Runs each way in a process of its own and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--model", type=Path, default=Path(__file__).parents[2] / "r1cli" / "tiny" / "checkpoint")
    parser.add_argument("--way", choices=("examples", "records"))
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.rows, args.tokens, args.way, args.model)))
        return
    found = []
    for way in ("examples", "records"):
        command = [sys.executable, __file__, "--way", way, "--rows", str(args.rows), "--tokens", str(args.tokens)]
        done = subprocess.run([*command, "--model", str(args.model)], capture_output=True, check=True)
        found.append(json.loads(done.stdout))
    json.dump({"rows": args.rows, "tokens": args.tokens, "ways": found}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
