"""r1 plot"""

import sys
from pathlib import Path
from typing import Annotated, Any

from r1cli import options, ui
from r1cli.options import Argument, Option

DEFAULT = ("reward", "rewards.accuracy", "rewards.format", "thinking_mean")
SUPERVISED = ("loss", "validation_loss")  # where no update has a reward
BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = " ......###"


def plot(
    source: Annotated[list[Path], Argument(metavar="RUN|FILE...", help="Runs, or metrics files; - is stdin.")],
    metric: Annotated[
        list[str] | None,
        Option("--metric", "-m", metavar="NAME", help="What to draw, e.g. kl or rewards.format; repeatable."),
    ] = None,
    height: Annotated[int, Option(metavar="N", min=1, max=40, help="Lines per curve.")] = 6,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Draw learning curves in the terminal from the metrics of runs.

    Text for people, not records: it ends a pipe. Without --metric: reward, accuracy, format share, thinking length; or
    the losses of r1 sft.

    \b
    Examples:
      r1 plot runs/zero
      r1 plot runs/zero -m kl -m entropy
      r1 plot seed0/metrics.jsonl seed1/metrics.jsonl -m rewards.accuracy
    """
    ui.setup("plot", quiet, verbose)
    from r1cli import stream
    from r1cli.errors import InputError

    width = max(20, min(ui.terminal_width(), 100) - 12)
    blocks = BLOCKS if (sys.stdout.encoding or "").lower().startswith("utf") else PLAIN
    drawn = 0
    with stream.Writer() as out:
        for path in source:
            file = path / "metrics.jsonl" if path.is_dir() else path
            if path.is_dir() and not file.exists():
                raise InputError(f"{path} has no updates yet (no metrics.jsonl)")
            records = [line.record for line in stream.read([file])]
            rewarded = any("reward" in record for record in records)
            for name in metric or (DEFAULT if rewarded else SUPERVISED):
                points = [
                    (at, value) for at, value in ((r.get("step"), find(r, name)) for r in records) if _both(at, value)
                ]
                if points:
                    title = f"{name}  ({path})" if len(source) > 1 else name
                    out.write(("\n".join(curve(title, points, width, height, blocks)) + "\n\n").encode())
                    drawn += 1
        if not drawn:
            names = ", ".join(metric or DEFAULT)
            raise InputError(f"{', '.join(map(str, source))}: no update has a number named {names}")


def find(record: dict[str, Any], name: str) -> Any:
    """A number in a record by a dotted path, or None."""
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _both(at: Any, value: Any) -> bool:
    return isinstance(at, int) and value is not None


def curve(title: str, points: list[tuple[int, float]], width: int, height: int, blocks: str) -> list[str]:
    """The lines of one chart: each column is the mean of the updates that fall into it."""
    width = min(width, len(points))
    columns: list[list[float]] = [[] for _ in range(width)]
    for place, (_, value) in enumerate(points):
        columns[place * width // len(points)].append(value)
    means = [sum(column) / len(column) for column in columns]
    low, high = min(means), max(means)
    if low >= 0 and low < high / 2:
        low = 0.0  # an honest axis where it costs little room
    span = high - low or 1.0
    levels = [round((mean - low) / span * height * 8) for mean in means]
    lines = [f"{title}: {means[0]:.4g} → {means[-1]:.4g}"]
    for row in range(height - 1, -1, -1):
        label = f"{high:9.4g}" if row == height - 1 else f"{low:9.4g}" if row == 0 else " " * 9
        lines.append(f"{label} ┤" + "".join(blocks[max(0, min(8, level - row * 8))] for level in levels))
    first, last = str(points[0][0]), str(points[-1][0])
    lines.append(" " * 11 + first + f"step {last}".rjust(max(width - len(first), len(last) + 6)))
    if blocks is PLAIN:
        lines = [line.replace("→", "->").replace("┤", "|") for line in lines]
    return lines
