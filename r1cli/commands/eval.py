"""r1 eval"""

from pathlib import Path
from typing import Annotated, Any

from r1cli import options, ui
from r1cli.options import Argument, Option


def eval_(
    checkpoint: Annotated[
        str | None, Argument(metavar="[CKPT]", help="What to evaluate; - : judged rollouts from stdin.")
    ] = None,
    prompts: Annotated[
        list[Path] | None,
        Argument(metavar="[PROMPTS]...", help="JSONL files with answers, or -; none: the run's held-out questions."),
    ] = None,
    samples: Annotated[int | None, Option("--samples", "-k", metavar="K", min=1, help="Samples per question.")] = None,
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
    output: options.Output = None,
    device: options.Device = None,
    threads: options.Threads = None,
    slots: options.Slots = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure pass@1, unbiased pass@k and cons@k: one record a task.

    Samples a checkpoint on questions with known answers and judges them by --accuracy's rules (temperature 0.6 and
    top-p 0.95, the paper's, unless set), or with - aggregates judged rollouts from standard input. The standard error
    is over questions.

    \b
    Examples:
      r1 eval ckpt
      r1 eval ckpt held-out.jsonl -k 4 --items judged.jsonl
      r1 sample ckpt | r1 reward --accuracy | r1 eval -
    """
    ui.setup("eval", quiet, verbose)
    from r1cli import evaluation, stream
    from r1cli.errors import InputError

    with stream.Writer(output) as out:
        if checkpoint is None or (checkpoint == "-" and not prompts):
            for_sampling = (samples, questions, temperature, top_p, max_tokens, stop, template, seed, items, device)
            if any(value is not None for value in (*for_sampling, threads, slots)):
                raise InputError(
                    "options of sampling need a checkpoint; judged rollouts from stdin are only aggregated"
                )
            judged = ((line.record, line.where) for line in stream.read([]))
        elif checkpoint == "-":
            raise InputError("prompts need a checkpoint to sample from; - alone aggregates judged rollouts")
        else:
            request = {
                "questions": questions, "group": samples, "temperature": temperature, "top_p": top_p,
                "max_tokens": max_tokens, "stop": stop, "seed": seed,
                "template": template,
            }  # fmt: skip
            judged = _judged(checkpoint, prompts, request, (device, threads, slots), lenient=not strict, items=items)
        think_end = None if checkpoint in (None, "-") else _end_of_thinking(checkpoint)
        tasks: dict[str, dict[str, list[Any]]] = {}
        for record, where in judged:
            try:
                sample = evaluation.read_sample(record, lenient=not strict, think_end=think_end)
                items_of_task = tasks.setdefault(record.get("task") or "", {})
                items_of_task.setdefault(evaluation.item_of(record), []).append(sample)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
        if not tasks:
            raise InputError("no samples: the input is empty")
        for task, questions_of_task in tasks.items():
            # A sample whose judge failed has no verdict and cannot count towards k; nor does a question without any.
            verdicts = [sum(s.value is not None for s in of_one) for of_one in questions_of_task.values()]
            fewest = min(filter(None, verdicts), default=1)
            summary = {"task": task} | evaluation.summarize(questions_of_task, ks=(fewest,), cons=(fewest,))
            out.record(summary)
            ui.say(_describe(summary, fewest))


def _end_of_thinking(checkpoint: str) -> int | None:
    """The id of </think> where the checkpoint's tokenizer has it as one token."""
    import orjson

    from r1cli.runs import locate

    folder, _ = locate(checkpoint)
    try:
        added = orjson.loads((folder / "tokenizer.json").read_bytes()).get("added_tokens") or []
    except (OSError, orjson.JSONDecodeError):
        return None  # the backend says what is wrong with it
    return next((token["id"] for token in added if token.get("content") == "</think>"), None)


def _describe(summary: dict[str, Any], k: int) -> str:
    error = summary["stderr"]
    parts = [f"pass@1 {summary['pass@1']:.3f}" + (f" ± {error:.3f}" if error is not None else "")]
    parts += [f"{name}@{k} {summary[f'{name}@{k}']:.3f}" for name in ("pass", "cons") if k > 1]
    parts.append(f"format {summary['format']:.3f}")
    if "tokens" in summary:
        parts.append(f"{summary['tokens']:.1f} tokens")
    shares = [name for name in ("no_answer", "truncated", "failed") if summary[name]]
    parts += [f"{name.replace('_', ' ')} {summary[name]:.1%}" for name in shares]
    return f"{summary['task'] or 'questions'}: {summary['items']} questions x {k}: {', '.join(parts)}"


def _judged(
    checkpoint: str,
    files: list[Path] | None,
    request: dict[str, Any],
    where_to: tuple[str | None, int | None, int | None],
    *,
    lenient: bool,
    items: Path | None,
) -> Any:
    """Yields judged rollouts with their questions' places; those that the items file has already come last."""
    import orjson

    from r1cli import rewards
    from r1cli.backend.base import EngineOptions, open_backend
    from r1cli.errors import InputError
    from r1cli.items import Items
    from r1cli.prompts import sources, templates
    from r1cli.records import unique_ids
    from r1cli.runs import locate

    _, run = locate(checkpoint)
    defaults = {"temperature": 0.6, "top_p": 0.95, "samples": 16, "questions": 200}
    defaults |= run.defaults("eval") if run else {}
    if items and files and any(items.exists() and file.exists() and items.samefile(file) for file in files):
        raise InputError(f"--items {items} is the file of prompts; name a file of its own")
    if files:
        prompts = list(sources.read_prompts(files))[: request["questions"]]
        unique_ids(prompts)
    else:
        source = run.config.get("source") if run else {"task": "sum"} if checkpoint == "tiny" else None
        if source is None:
            raise InputError(f"{checkpoint} has no task of its own; name a file of prompts with answers")
        count = request["questions"] or defaults["questions"]
        prompts = sources.draw(source, run.config.get("seed", 0) if run else 0, 0, count, "test")
    if not prompts:
        raise InputError("no prompts: the input is empty")
    for key in ("temperature", "top_p"):
        request[key] = defaults[key] if request[key] is None else request[key]
    request["group"] = request["group"] or defaults["samples"]
    request["template"] = templates.load(request["template"]) if request["template"] else None
    asked = {key: request[key] for key in ("temperature", "top_p", "max_tokens", "seed", "template")}
    asked = {key: value for key, value in asked.items() if value is not None}
    kept = Items(items, prompts, request["group"]) if items else None
    left = [prompt for prompt in prompts if not kept or prompt.record["id"] not in kept.done]
    progress = ui.Progress()
    settings = rewards.Options(lenient=lenient)
    weights = {"accuracy": 1.0, "format": 0.0}
    places = {prompt.record["id"]: prompt.where for prompt in prompts}
    backend = None
    try:
        if kept:
            kept.refuse_mixture(sampling=asked)
        if left:
            progress.update("starting")
            backend = open_backend(checkpoint, EngineOptions(*where_to))
            found = backend.sample({**request, "questions": None, "background": True}, left)
        else:
            found = iter(())
            if run:
                kept.refuse_mixture(policy={"run": run.id, "version": run.state().version})
        for count, line in enumerate(found, 1):
            record = orjson.loads(line)
            where = places[record["id"]]
            if kept and count == 1:
                kept.refuse_mixture(policy=record["policy"], sampling=record["sampling"])
            try:
                record |= rewards.judge(record, weights, settings)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            if kept:
                kept.append(record)
            progress.update(f"{count} of {len(left) * request['group']} samples")
            yield record, where
        for record in kept.kept() if kept else ():
            yield record, places[record["id"]]
    finally:
        if backend:
            backend.close()
        progress.clear()
        if kept:
            kept.close()
