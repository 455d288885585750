"""python -m r1cli.manual [--check] [FOLDER]: writes man/ and completions/ below FOLDER (the repository by default).

With --check nothing is written: it names the files that differ from what would be, and exits with 1.
"""

import argparse
import sys
from pathlib import Path

from r1cli.manual.generate import files

parser = argparse.ArgumentParser(prog="python -m r1cli.manual", description=__doc__)
parser.add_argument("--check", action="store_true", help="name what is out of date, and write nothing")
parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[2], metavar="FOLDER")
asked = parser.parse_args()
wanted = {asked.folder / name: text.encode() for name, text in files().items()}
present = {path for folder in ("man", "completions") for path in (asked.folder / folder).glob("*")}
stale = [path for path, content in wanted.items() if path not in present or path.read_bytes() != content]
left_over = sorted(present - set(wanted))
for path in () if asked.check else left_over:
    path.unlink()
for path in () if asked.check else stale:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wanted[path])
for path in (*stale, *left_over):
    print(path.relative_to(asked.folder), file=sys.stderr)
if asked.check and (stale or left_over):
    sys.exit("out of date; run: python -m r1cli.manual")
