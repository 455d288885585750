"""r1 eval"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from r1cli import options, ui
from r1cli.options import Argument, Option

HEADINGS = {
    "preset": "What is measured", "compare": "Comparing", "questions": "Sampling", "strict": "Judging",
    "model": "A server's URL", "jobs": "Running",
}  # fmt: skip


def eval_(
    checkpoint: Annotated[
        str | None, Argument(metavar="[CKPT]", help="What to evaluate, or a URL; - : judged rollouts from stdin.")
    ] = None,
    prompts: Annotated[
        list[Path] | None,
        Argument(metavar="[PROMPTS]...", help="Files with answers, or -; none: the run's held-out questions."),
    ] = None,
    preset: Annotated[
        str | None,
        Option(metavar="NAME", help="A known set (aime24, math500, gpqa, ...): fetched, or read from files."),
    ] = None,
    samples: Annotated[int | None, Option("--samples", "-k", metavar="K", min=1, help="Samples per question.")] = None,
    pass_at: Annotated[
        str | None, Option(metavar="LIST", help="More k for pass@k, as 1,8,64 (always: the samples per question).")
    ] = None,
    cons_at: Annotated[str | None, Option(metavar="LIST", help="More k for cons@k, as 16,64.")] = None,
    ties: Annotated[
        Literal["expected", "first"],
        Option(help="cons@k of tied answers: their expected worth, or that of the first seen."),
    ] = "expected",
    compare: Annotated[
        bool, Option("--compare", help="Compare two files of judged rollouts question by question: A B.")
    ] = False,
    common: Annotated[bool, Option("--common", help="Leave out questions that only one of A and B has.")] = False,
    questions: Annotated[int | None, Option(metavar="N", min=1, help="Questions (default: the run's, or all).")] = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    max_tokens: options.MaxTokens = None,
    stop: options.Stop = None,
    template: options.Template = None,
    seed: options.Seed = None,
    strict: Annotated[bool, Option("--strict", help="Read only tagged or boxed answers, as a reward does.")] = False,
    items: Annotated[
        Path | None,
        Option(metavar="FILE", help="Append every judged sample to FILE, and go on from what it has."),
    ] = None,
    model: Annotated[str | None, Option(metavar="NAME", help="The model of a URL (default: its only one).")] = None,
    concurrency: Annotated[
        int | None, Option(metavar="N", min=1, help="Requests to a URL at a time (default: 32).")
    ] = None,
    jobs: Annotated[
        int | None, Option("--jobs", "-j", metavar="N", min=1, help="Processes that judge (default: one per CPU).")
    ] = None,
    output: options.Output = None,
    device: options.Device = None,
    threads: options.Threads = None,
    slots: options.Slots = None,
    sampler: options.Sampler = None,
    gpu_memory: options.GpuMemory = None,
    engines: options.Engines = None,
    tensor_parallel: options.TensorParallel = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure pass@1, unbiased pass@k and cons@k: one record a task.

    Samples a checkpoint, or a server, on questions with known answers (temperature 0.6 and top-p 0.95, the paper's,
    unless set) and judges each by the rules of its task while sampling goes on; or with - aggregates judged rollouts
    from standard input. Answers in no box or tag count too, unless --strict.
    Standard errors and 95% intervals are over questions. An answer of cons@k has the votes of all that the grader
    calls equal to it. --compare gives B - A, its paired error, and the p-value of a sign-flip test over questions.

    \b
    Examples:
      r1 eval ckpt
      r1 eval ckpt held-out.jsonl -k 4 --items judged.jsonl
      r1 eval ckpt --preset aime24 --pass-at 8,64
      r1 eval http://localhost:8000/v1 held-out.jsonl --items judged.jsonl
      r1 eval --compare before.jsonl after.jsonl
      r1 sample ckpt | r1 reward --accuracy | r1 eval -
    """
    ui.setup("eval", quiet, verbose)
    from r1cli import evaluation, rewards, stream
    from r1cli.backend.base import EngineOptions
    from r1cli.commands.eval_sampling import Source
    from r1cli.commands.eval_sampling import judged as sample_and_judge
    from r1cli.errors import InputError

    for_sampling = {
        "--preset": preset, "--samples": samples, "--questions": questions, "--temperature": temperature,
        "--top-p": top_p, "--max-tokens": max_tokens, "--stop": stop, "--template": template, "--items": items,
        "--seed": seed, "--model": model, "--concurrency": concurrency, "--device": device, "--threads": threads,
        "--slots": slots, "--sampler": sampler, "--gpu-memory": gpu_memory,
        "--engines": engines, "--tensor-parallel": tensor_parallel,
    }  # fmt: skip
    given = [name for name, value in for_sampling.items() if value is not None]
    sampled = not compare and checkpoint is not None and (checkpoint != "-" or bool(prompts))
    if given and not sampled:
        done = "compared" if compare else "aggregated"
        raise InputError(f"{given[0]}: options of sampling need a checkpoint; judged rollouts are only {done}")
    if common and not compare:
        raise InputError("--common says how --compare counts, which was not asked for")
    with stream.Writer(output) as out:
        if compare:
            if pass_at or cons_at or ties != "expected":
                raise InputError("--compare compares pass@1; --pass-at, --cons-at and --ties are for one evaluation")
            files = [Path(checkpoint), *(prompts or [])] if checkpoint else []
            for record, line in _compared(files, common=common, lenient=not strict):
                out.record(record)
                ui.say(line)
            return
        ks, cons = _numbers(pass_at, "--pass-at"), _numbers(cons_at, "--cons-at")
        if not sampled:
            judged = ((line.record, line.where) for line in stream.read([]))
            think_end = None
        elif checkpoint == "-":
            raise InputError("prompts need a checkpoint to sample from; - alone aggregates judged rollouts")
        else:
            request = {
                "questions": questions, "group": samples, "temperature": temperature, "top_p": top_p,
                "max_tokens": max_tokens, "stop": stop, "seed": seed, "template": template,
            }  # fmt: skip
            engine = EngineOptions(
                device, threads, slots, sampler=sampler, gpu_memory=gpu_memory, engines=engines,
                tensor_parallel=tensor_parallel,
            )  # fmt: skip
            source = Source(
                checkpoint,
                engine,
                model,
                concurrency,
                prompts or [],
                preset,
                max(ks + cons, default=1),
            )
            judged = sample_and_judge(source, request, lenient=not strict, items=items, jobs=jobs)
            think_end = _end_of_thinking(checkpoint)
        tasks = evaluation.collect(judged, lenient=not strict, think_end=think_end)
        with rewards.open_grader({"accuracy": 1.0}, rewards.Options(jobs=jobs)) as grader:
            same = evaluation.Equivalence(grader.judge)
            for name, task in tasks.items():
                fewest = evaluation.fewest_verdicts(task.items)
                estimates = evaluation.summarize(
                    task.items, ks=(fewest, *ks), cons=(fewest, *cons), same=same, ties=ties
                )
                summary = {"task": name} | estimates | task.setting.summary()
                out.record(summary)
                mixed = task.setting.mixed()
                if mixed:
                    ui.warn(f"{name or 'questions'}: samples of several settings are one number: {', '.join(mixed)}")
                ui.say(evaluation.describe(summary))


def _numbers(text: str | None, option: str) -> list[int]:
    """The whole numbers of a list such as 1,8,64."""
    from r1cli.errors import InputError

    words = [word.strip() for word in text.split(",")] if text else []
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise InputError(f"{option} {text}: expected whole numbers above 0, as 1,8,64")
    return [int(word) for word in words]


def _compared(files: list[Path], *, common: bool, lenient: bool) -> Iterator[tuple[dict[str, Any], str]]:
    """Yields, for each task, the record and the line of a comparison of two files."""
    from r1cli import evaluation, stream
    from r1cli.errors import InputError

    if len(files) != 2:
        raise InputError("--compare takes two files of judged rollouts: r1 eval --compare A B")
    if files[0] == files[1]:
        raise InputError(f"--compare: both are the same file, {files[0]}; name two files of judged rollouts")
    names = [str(file) for file in files]
    a, b = (
        evaluation.collect(((line.record, line.where) for line in stream.read([file])), lenient=lenient)
        for file in files
    )
    alone = [(task, name) for one, other, name in ((a, b, names[0]), (b, a, names[1])) for task in one.keys() - other]
    if alone and not common:
        raise InputError(f"task {alone[0][0]!r} is in {alone[0][1]} only; --common leaves it out")
    if not a.keys() & b.keys():
        raise InputError(f"{names[0]} and {names[1]} have no task in common")
    for task in (task for task in a if task in b):
        known = b[task].answers
        other = next((item for item, answer in a[task].answers.items() if known.get(item, answer) != answer), None)
        if other is not None:
            raise InputError(f"question {other} has not the same answer in {names[0]} and {names[1]}: other questions")
        found = evaluation.compare(a[task].items, b[task].items, common=common, names=names)
        settings = [one[task].setting.found for one in (a, b)]
        differing = [name for name in settings[0] if settings[0][name] != settings[1][name]]
        if differing:
            ui.warn(f"{task or 'questions'}: {names[0]} and {names[1]} differ in {', '.join(differing)} too")
        record = {"task": task, "compare": names} | found
        yield record, evaluation.describe_comparison(record, names)


def _end_of_thinking(checkpoint: str) -> int | None:
    """The id of </think> where the checkpoint's tokenizer has it as one token."""
    import orjson

    from r1cli.backend.base import is_url
    from r1cli.runs import locate

    if is_url(checkpoint):
        return None
    folder, _ = locate(checkpoint)
    try:
        added = orjson.loads((folder / "tokenizer.json").read_bytes()).get("added_tokens") or []
    except (OSError, orjson.JSONDecodeError):
        return None  # the backend says what is wrong with it
    return next((token["id"] for token in added if token.get("content") == "</think>"), None)
