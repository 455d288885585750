"""r1 prompts"""

from pathlib import Path
from typing import Annotated

from r1cli import options, ui
from r1cli.options import Argument, Option


def prompts(
    source: Annotated[str, Argument(metavar="SOURCE", help="A generated task (sum), a JSONL file, or -.")],
    split: Annotated[options.Split, Option(help="Which questions of a generated task.")] = "train",
    limit: Annotated[
        int | None,
        Option("--limit", "-n", metavar="N", min=0, help="At most N prompts (a generated task has no end: 32)."),
    ] = None,
    skip: Annotated[int, Option(metavar="N", min=0, help="Pass over the first N.")] = 0,
    shuffle: Annotated[bool, Option("--shuffle", help="Shuffle a file's prompts by --seed (holds them).")] = False,
    seed: Annotated[int, Option(metavar="N", help="Seed of the shuffle and of generated tasks.")] = 0,
    output: options.Output = None,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write prompt records: generated questions, or a file's.

    A file's records are checked, get an `id` where they have none, and lose what a rollout added to them.

    \b
    Examples:
      r1 prompts sum --split test --limit 200 -o held-out.jsonl
      r1 prompts math.jsonl --shuffle --limit 100 | r1 sample ckpt - --group 4
    """
    ui.setup("prompts", quiet, verbose)
    import itertools
    import random

    import orjson

    from r1cli.errors import InputError
    from r1cli.prompts import sources
    from r1cli.stream import Writer

    if source in sources.TASKS and not Path(source).exists():
        if shuffle:
            raise InputError(f"--shuffle is for files; the questions of {source} are drawn at random by --seed")
        count = 32 if limit is None else limit
        made = (sources.generate(source, seed, index, split) for index in range(skip, skip + count))
        found = (orjson.dumps(record) + b"\n" for record in made)
    else:
        if split != "train":
            raise InputError("--split is for generated tasks; a file is one split")
        read = (prompt.line + b"\n" for prompt in sources.read_prompts([Path(source)], skip_bad=skip_bad))
        if shuffle:
            held = list(read)
            random.Random(seed).shuffle(held)
            read = iter(held)
        found = itertools.islice(read, skip, None if limit is None else skip + limit)
    with Writer(output) as out:
        for line in found:
            out.write(line)
