"""From a folder of examples/reflection.sh to its results: `python -m reflection.report OUT RESULTS`.

Writes reflection.json (all numbers), reflection.md and reflection.svg (made of that file and nothing else) to RESULTS.
"""

import json
import sys
from pathlib import Path

from r1cli.atomic import replace_file
from reflection.page import page
from reflection.plot import plot
from reflection.results import collect

if __name__ == "__main__":
    folder, target = map(Path, sys.argv[1:])
    found = json.loads(json.dumps(collect(folder)))
    replace_file(target / "reflection.json", (json.dumps(found, indent=1) + "\n").encode())
    replace_file(target / "reflection.md", page(found).encode())
    replace_file(target / "reflection.svg", plot(found).encode())
