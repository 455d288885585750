"""r1 show"""

from pathlib import Path
from typing import Annotated

from r1cli import options, ui
from r1cli.options import Option


def show(
    files: options.Files = None,
    limit: Annotated[
        int | None, Option("--limit", "-n", metavar="N", min=0, help="At most N records (groups, differences).")
    ] = None,
    groups: Annotated[
        bool, Option("--groups", help="One page a group: its rewards, and the best sample beside the worst.")
    ] = False,
    diff: Annotated[
        bool, Option("--diff", help="What differs between two FILEs: verdicts, or answers side by side.")
    ] = False,
    tokens: Annotated[
        bool, Option("--tokens", help="Mark tokens to which the sampler gave less than .5, .1 and .01.")
    ] = False,
    tokenizer: Annotated[
        str | None, Option(metavar="CKPT", help="Whose tokenizer --tokens takes (default: the policy's).")
    ] = None,
    field: Annotated[
        list[str] | None,
        Option("--field", "-f", metavar="NAME", help="A table of these fields, one record a line; repeatable."),
    ] = None,
    html: Annotated[
        Path | None, Option(metavar="FILE", help="Write one page of HTML that needs no other file.")
    ] = None,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Show rollouts to a person: question, thinking, verdicts.

    Of prompts, results and metrics it shows the fields. On a terminal there are colours and a pager ($PAGER, or less);
    elsewhere it is plain text, not records: it ends a pipe. What begins a long stream is shown at once.

    \b
    Examples:
      r1 sample ckpt | r1 reward --format --accuracy | r1 show
      jq -c 'select(.reward == 0)' rewarded.jsonl | r1 show -n 5
      r1 show --groups rewarded.jsonl
      r1 show --diff before.jsonl after.jsonl
      r1 show --tokens -n 10 rewarded.jsonl --html page.html
      r1 show -f step -f reward -f kl ckpt/metrics.jsonl
    """
    ui.setup("show", quiet, verbose)
    from r1cli.errors import InputError
    from r1cli.showing import showing

    given = {"--groups": groups, "--diff": diff, "--field": field}
    ways = [name for name, value in given.items() if value]
    if len(ways) > 1:
        raise InputError(f"{' and '.join(ways)} are different pages; name one of them")
    if field and (html or tokens):
        raise InputError(f"--field makes a table, which has no {'--html' if html else '--tokens'}")
    if diff and (tokens or len(files or []) != 2):
        raise InputError("--diff compares two files, without --tokens: r1 show --diff A B")
    if tokenizer and not tokens:
        raise InputError("--tokenizer is for --tokens, which was not asked for")
    screen = ui.screen()
    if field:
        showing.show_table(files or [], field, limit, screen, skip_bad=skip_bad)
    elif diff:
        showing.show_differences(files or [], limit, screen, html, skip_bad=skip_bad)
    else:
        painter = showing.painter(tokenizer) if tokens else None
        showing.show_pages(files or [], limit, screen, html, painter, skip_bad=skip_bad, grouped=groups)
