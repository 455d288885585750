"""r1 plot"""

from pathlib import Path
from typing import Annotated, Literal

from r1cli import options, ui
from r1cli.options import Argument, Option


def plot(
    sources: Annotated[
        list[Path] | None,
        Argument(
            metavar="[RUN|FILE]...", help="Runs; files of metrics, results or judged samples; - or none is stdin."
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        Option("--metric", "-m", metavar="NAME", help="What to draw: kl, accuracy, seconds.gradient; repeatable."),
    ] = None,
    over: Annotated[
        Literal["step", "tokens", "seconds", "k"] | None,
        Option("--over", help="The axis: updates, or what they took; k draws pass@k (default: what there is)."),
    ] = None,
    smooth: Annotated[
        int | None, Option(metavar="N", min=1, help="Mean over N updates (pictures: a fifteenth of them; else 1).")
    ] = None,
    label: Annotated[
        list[str] | None, Option(metavar="TEXT", help="What the legend calls a source; once for each, in order.")
    ] = None,
    output: options.Output = None,
    theme: Annotated[Literal["light", "dark"] | None, Option(help="Background of a picture (default: light).")] = None,
    height: Annotated[int | None, Option(metavar="N", min=1, max=40, help="Lines per curve in the terminal.")] = None,
    follow: Annotated[
        bool, Option("--follow", help="Draw again whenever there is more, until Ctrl-C or the end of stdin.")
    ] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Draw learning curves of runs in the terminal, or as a picture.

    Several runs share their axes. Without --metric: reward, pass@1 of evaluations, each reward, length, KL, entropy,
    clip share and log-prob gap, as far as they are there and change; or the losses of r1 sft. Of a run it reads
    metrics.jsonl and the results in eval*.json, which r1 eval marks with their step. Judged samples and results
    without a step give pass@k over k. --output FILE.png or .svg needs the extra `plot`. Text for people, not records.

    \b
    Examples:
      r1 plot runs/zero
      r1 plot runs/zero --follow
      r1 plot runs/zero -m accuracy -m length -o figure.png
      r1 plot runs/distilled runs/zero -m pass@1 --over tokens
      r1 plot runs/seed0 runs/seed1 -m kl --theme dark -o kl.svg
      r1 plot base.jsonl trained.jsonl --over k
      jq -c 'select(.step > 100)' runs/zero/metrics.jsonl | r1 plot
    """
    ui.setup("plot", quiet, verbose)
    from r1cli.errors import InputError
    from r1cli.plotting import drawing, following

    screen = ui.screen()
    paths = sources or [Path("-")]
    if label and len(label) != len(paths):
        raise InputError(f"{len(label)} --label for {len(paths)} sources: give one for each, or none")
    if output is not None and height is not None:
        raise InputError("--height is for the terminal; the size of a picture follows from its panels")
    if output is None and theme is not None:
        raise InputError("--theme is for pictures (-o FILE.png); the terminal has its own colours")
    wanted = drawing.Wanted(metric, over, smooth, label, output, theme or "light", height)
    if follow:
        following.follow(paths, wanted, screen)
    else:
        drawing.once(paths, wanted, screen)
