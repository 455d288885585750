"""r1 doctor"""

import json
import sys
from typing import Annotated, Any

from r1cli import options, ui
from r1cli.options import Option

COLOURS = {"ok": "\x1b[32m", "absent": "\x1b[33m", "broken": "\x1b[31m"}
OFF = "\x1b[0m"


def doctor(
    quick: Annotated[bool, Option("--quick", help="Read versions only; import, start and try nothing.")] = False,
    output: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Say what works on this machine, and what to install.

    Versions, memory, GPUs, engines, sandboxes: each is tried, with the tiny base and in processes of its own, in about
    ten seconds of CPU. On a terminal it is a table, else one record a check: check, status (ok, absent, broken),
    needed, found, purpose, fix. The exit code is 1 when something that r1 can't do without does not work.

    \b
    Examples:
      r1 doctor
      r1 doctor --quick | jq -r 'select(.status != "ok") | .fix'
    """
    ui.setup("doctor", quiet, verbose)
    from r1cli import stream
    from r1cli.doctor import examine
    from r1cli.errors import R1Error

    table = output is None and ui.is_terminal(sys.stdout)
    paint = ui.colour(sys.stdout)
    fatal: list[str] = []
    others: list[str] = []
    progress = ui.Progress()
    with stream.Writer(output) as out:
        progress.update("looking at this machine")
        for finding in examine(quick):
            progress.clear()
            if table:
                out.write("".join(f"{line}\n" for line in lines(finding, paint)).encode("utf-8", "backslashreplace"))
            else:
                out.write(json.dumps(finding._asdict()).encode() + b"\n")  # orjson may be what is missing
            if finding.status != "ok":
                (fatal if finding.fatal else others).append(finding.check)
            progress.update(f"after {finding.check}")
        progress.clear()
    if fatal:
        raise R1Error(f"does not work here: {', '.join(fatal)}")
    ui.say("what r1 needs works here" + (f"; without {', '.join(others)}" if others else ""))


def lines(finding: Any, paint: bool) -> list[str]:
    """A finding as lines of at most 80 columns where words allow it: status, name, what was found, what to do."""
    import textwrap

    status = f"{finding.status:7}"
    head = f"{finding.check:16}"
    text = f"{finding.found}" + ("" if finding.status == "ok" else f" (for {finding.purpose})")
    shown = textwrap.wrap(ui.printable(text), 54, break_long_words=False) or [""]
    rows = [f"{COLOURS[finding.status]}{status}{OFF}" if paint else status]
    rows[0] += f" {head} {shown[0]}"
    rows += [" " * 25 + row for row in shown[1:]]
    if finding.fix:
        rows += textwrap.wrap(finding.fix, 79, break_long_words=False, initial_indent=" " * 25 + "-> ",
                              subsequent_indent=" " * 28)  # fmt: skip
    return rows
