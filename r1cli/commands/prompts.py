"""r1 prompts"""

from pathlib import Path
from typing import Annotated, Literal

from r1cli import options, ui
from r1cli.options import Argument, Option

HEADINGS = {
    "preset": "Where they are", "prompt_field": "What is what", "prompt_template": "How they are asked",
    "unique": "Which of them",
}  # fmt: skip


def prompts(
    source: Annotated[
        list[str] | None,
        Argument(
            metavar="[SOURCE]...",
            help="A generated task (sum, countdown), data files or - (stdin), a folder, or a hub id OWNER/NAME.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        Option(metavar="NAME", help="A known data set: its fields, and without SOURCE its place on the hub."),
    ] = None,
    split: Annotated[
        str | None, Option(metavar="NAME", help="Which part of a data set; of a generated task, train or test.")
    ] = None,
    config: Annotated[str | None, Option(metavar="NAME", help="Which configuration of a hub's data set.")] = None,
    revision: Annotated[str | None, Option(metavar="NAME", help="Which revision of a hub's data set.")] = None,
    input_format: Annotated[
        Literal["jsonl", "json", "csv", "tsv", "parquet", "arrow"] | None,
        Option(help="What the files are (default: by name or content)."),
    ] = None,
    prompt_field: Annotated[
        str | None, Option(metavar="PATH", help="The field of the prompt: question, prompt.0.content, ...")
    ] = None,
    answer_field: Annotated[
        str | None, Option(metavar="PATH", help="The field of the answer: answer, reward_model.ground_truth, ...")
    ] = None,
    answer_from: Annotated[
        Literal["raw", "boxed", "hashes", "json"] | None,
        Option(help="Where in that field the answer is: all of it, the last box, after ####, a JSON text."),
    ] = None,
    id_field: Annotated[
        str | None, Option(metavar="PATH", help="The field of the id (default: id, or a digest of the prompt).")
    ] = None,
    task: Annotated[str | None, Option(metavar="NAME", help="The task to write into every record: math, ...")] = None,
    task_field: Annotated[str | None, Option(metavar="PATH", help="The field that names a row's task.")] = None,
    prompt_template: Annotated[
        str | None,
        Option(metavar="NAME|FILE", help="none, boxed, letter, code, or a text with {prompt} and {any field}."),
    ] = None,
    shuffle_choices: Annotated[
        bool | None,
        Option("--shuffle-choices/--no-shuffle-choices", help="Shuffle the options of multiple choice by --seed."),
    ] = None,
    repeat: Annotated[
        int, Option(metavar="N", min=1, help="Write each question N times, its choices in other orders.")
    ] = 1,
    tests_dir: Annotated[
        Path | None, Option(metavar="DIR", help="Write tests larger than 64 kB to files in DIR.")
    ] = None,
    unique: Annotated[bool, Option("--unique", help="Leave out questions that came before.")] = False,
    limit: Annotated[
        int | None,
        Option("--limit", "-n", metavar="N", min=0, help="At most N prompts (a generated task has no end: 32)."),
    ] = None,
    skip: Annotated[int, Option(metavar="N", min=0, help="Pass over the first N.")] = 0,
    shuffle: Annotated[bool, Option("--shuffle", help="Shuffle a data set's prompts by --seed (holds them).")] = False,
    seed: Annotated[int, Option(metavar="N", help="Seed of both shuffles and of generated tasks.")] = 0,
    output: options.Output = None,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write prompt records: generated questions, or any data set.

    Data files are JSONL, JSON, CSV, TSV, Parquet or Arrow, also compressed. Rows that are prompt records already keep
    all their fields, get an `id` where they have none, and lose what a rollout added to them. Of other rows --preset or
    the --*-field options say what is what; without any, field names decide where only one can be meant.

    Presets for evaluation: aime24 aime25 math500 gpqa livecodebench codeforces mmlu mmlu-pro ifeval gsm8k countdown
    math. For training: deepmath dapo dapo-processed openr1-math mixture-of-thoughts bigmath numinamath numinamath-1.5
    taco apps. They ask as DeepSeek-R1 was asked; --prompt-template none gives the bare question.

    \b
    Examples:
      r1 prompts sum --split test --limit 200 -o held-out.jsonl
      r1 prompts math.jsonl --shuffle --limit 100 | r1 sample ckpt - --group 4
      r1 prompts gsm8k.parquet --preset gsm8k | r1 eval ckpt - -k 4
      r1 prompts --preset gpqa --repeat 8 -o gpqa.jsonl
      r1 prompts questions.csv --prompt-field text --answer-field solution --answer-from boxed
    """
    ui.setup("prompts", quiet, verbose)
    import itertools

    from r1cli.errors import InputError
    from r1cli.prompts import sources
    from r1cli.prompts.mapping import Fields, Tally
    from r1cli.stream import Writer

    names = source or []
    said = Fields(prompt_field, answer_field, answer_from, id_field, task, task_field, prompt_template)
    tally = Tally()
    if preset is None and len(names) == 1 and names[0] in sources.TASKS and not Path(names[0]).exists():
        given = {
            "--config": config, "--revision": revision, "--input-format": input_format, "--tests-dir": tests_dir,
            "--shuffle-choices": shuffle_choices, "--repeat": repeat > 1, "--unique": unique,
            **{f"--{name.replace('_', '-')}": value for name, value in zip(
                ("prompt_field", "answer_field", "answer_from", "id_field", "task", "task_field", "prompt_template"),
                said, strict=True)},
        }  # fmt: skip
        if shuffle:
            raise InputError(f"--shuffle is for files; the questions of {names[0]} are drawn at random by --seed")
        for option, value in given.items():
            if value is not None and value is not False:
                raise InputError(f"{option} is for data sets; {names[0]} is generated")
        found = sources.generated(names[0], seed, skip, 32 if limit is None else limit, split or "train")
    else:
        from r1cli.prompts import dataset

        wanted = dataset.Wanted(names, preset, split, config, revision, input_format, unique, skip_bad)
        ways = dataset.Ways(seed, repeat, shuffle_choices, tests_dir)
        found = dataset.prompt_lines(wanted, said, ways, tally, ui.say, progress=ui.Progress().active)
        if shuffle:
            found = sources.shuffled(found, seed)
        found = itertools.islice(found, skip, None if limit is None else skip + limit)
    with Writer(output) as out:
        for line in found:
            out.write(line)
    if tally.left_out:
        ui.say(f"left out {tally.reasons()}")
    if tally.skipped:
        ui.warn(f"skipped {tally.skipped} bad rows")
