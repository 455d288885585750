"""What reading examples for r1 sft costs: CPU and wall seconds, and peak memory above the imports, as JSON.

Each example has `--tokens` tokens in the mean, of random words, tokenised by the checkpoint's own tokenizer; lines are
generated as they are read, which is part of the time.

    python tests/bench/sft_data.py --rows 100000
"""

import argparse
import json
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from r1cli.backend.conversations import Drafter
from r1cli.backend.examples import Reader
from r1cli.backend.tokenizer import Tokenizer

WORDS = ("Ann ", "Bob ", " makes ", ", wait, ", "1", "2", "3", ". Check: ", ", Cat ", "7", "0")


def lines(rows: int, tokens: int) -> Iterator[tuple[bytes, str]]:
    """The lines, with their places."""
    draw = random.Random(0)
    for row in range(rows):
        text = "".join(draw.choices(WORDS, k=draw.randint(tokens // 2, tokens * 3 // 2)))
        yield json.dumps({"prompt": f"{row}. Total?", "completion": text}).encode(), f"x.jsonl:{row + 1}"


def main() -> None:
    """Reads them and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--model", type=Path, default=Path(__file__).parents[2] / "r1cli" / "tiny" / "checkpoint")
    args = parser.parse_args()
    drafter = Drafter(Tokenizer.load(args.model), "r1-zero", 1 << 20)
    reader = Reader(drafter, 1 << 20, loss="completion", max_length=None, skip_bad=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, wall = time.process_time(), time.perf_counter()
    examples = reader.read(lines(args.rows, args.tokens), lambda message: print(message, file=sys.stderr))
    result = {
        "rows": len(examples),
        "tokens": len(examples.tokens),
        "cpu_s": round(time.process_time() - began, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
        "peak_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024),
    }
    json.dump(result, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
