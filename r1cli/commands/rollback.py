"""r1 rollback"""

from pathlib import Path
from typing import Annotated

from r1cli import options, ui
from r1cli.options import Argument, Option


def rollback(
    run: Annotated[Path, Argument(metavar="RUN", help="The run to take back.")],
    to: Annotated[int, Option("--to", metavar="N", min=0, help="The step that becomes the current one.")],
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Make an older step the current one.

    Later steps are removed, their metrics kept in metrics.lost.jsonl.

    \b
    Example:
      r1 rollback runs/zero --to 40
    """
    ui.setup("rollback", quiet, verbose)
    from r1cli.runs import Run

    Run.open(run).rollback(to)
    ui.say(f"{run} stands at step {to}")
