"""The part of r1 eval that samples: which questions, how, what an items file has already, and judging meanwhile."""

import itertools
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from r1cli import ui

LONGEST = 32768


class Source(NamedTuple):
    """What is sampled, by which means, and on which questions."""

    checkpoint: str
    engine: Any  # the backend's EngineOptions
    model: str | None
    concurrency: int | None
    files: list[Path]
    preset: str | None
    least: int = 1  # samples of each question that the estimates asked for need


def judged(
    source: Source, request: dict[str, Any], *, lenient: bool, items: Path | None, jobs: int | None
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yields judged rollouts with their questions' places; those that the items file has already come last."""
    import orjson

    from r1cli import evaluation, rewards
    from r1cli.backend.base import open_backend
    from r1cli.errors import InputError
    from r1cli.items import Items
    from r1cli.prompts import templates
    from r1cli.records import unique_ids

    if items and any(items.exists() and file.exists() and items.samefile(file) for file in source.files):
        raise InputError(f"--items {items} is the file of prompts; name a file of its own")
    prompts = _fill(source, request)
    if not prompts:
        raise InputError("no prompts: the input is empty")
    unique_ids(prompts)
    request["template"] = templates.load(request["template"]) if request["template"] else None
    asked = {key: request[key] for key in ("temperature", "top_p", "max_tokens", "seed", "template")}
    asked = {key: value for key, value in asked.items() if value is not None}
    places = {prompt.record["id"]: prompt.where for prompt in prompts}
    kept = Items(items, prompts, request["group"]) if items else None
    left = [prompt for prompt in prompts if not kept or prompt.record["id"] not in kept.done]
    progress = ui.Progress()
    backend = None
    grader = evaluation.open_task_grader(
        (prompt.record.get("task") for prompt in prompts), rewards.Options(lenient=lenient, jobs=jobs)
    )
    try:
        if kept:
            kept.refuse_mixture(sampling=asked, policy=_policy(source, whole=not left))
            kept.refuse_grader(evaluation.grader_name(lenient=lenient))
        found: Iterator[bytes] = iter(())
        if left:
            progress.update("starting")
            backend = open_backend(source.checkpoint, source.engine, model=source.model, concurrency=source.concurrency)
            found = backend.sample({**request, "questions": None, "background": True}, left)

        def samples() -> Iterator[tuple[dict[str, Any], str]]:
            for count, line in enumerate(found, 1):
                record = orjson.loads(line)
                if kept and count == 1:
                    kept.refuse_mixture(policy=record["policy"], sampling=record["sampling"])
                yield record, places[record["id"]]

        total = len(left) * request["group"]
        for count, (record, where) in enumerate(evaluation.judged(grader, samples(), lenient=lenient), 1):
            if kept:
                kept.append(record)
            progress.update(f"{count} of {total} samples")
            yield record, where
        for record in kept.kept() if kept else ():
            yield record, places[record["id"]]
    finally:
        grader.close()
        if backend:
            backend.close()
        progress.clear()
        if kept:
            kept.close()


def _fill(source: Source, request: dict[str, Any]) -> list[Any]:
    """The questions; and the request filled with the preset's, the run's or the paper's settings where none is set."""
    from r1cli.backend.base import is_url
    from r1cli.errors import InputError
    from r1cli.prompts import sources
    from r1cli.runfile import EvalSettings
    from r1cli.runs import BASES, locate

    folder, run = (None, None) if is_url(source.checkpoint) else locate(source.checkpoint)
    defaults = asdict(EvalSettings()) | (run.defaults("eval") if run else {})
    if source.preset or any(_is_table(file) for file in source.files):
        prompts, own = _data_set(source, request["questions"])
        defaults |= own
    elif source.files:
        prompts = list(sources.read_prompts(source.files))
    else:
        drawn = run.config.get("source") if run else {"task": "sum"} if source.checkpoint in BASES else None
        if drawn is None:
            raise InputError(
                f"{source.checkpoint} has no task of its own; name a file of prompts with answers, or a --preset"
            )
        count = request["questions"] or defaults["questions"]
        prompts = sources.draw(drawn, run.config.get("seed", 0) if run else 0, 0, count, "test")
    for key in ("temperature", "top_p"):
        request[key] = defaults[key] if request[key] is None else request[key]
    request["group"] = request["group"] or defaults["samples"]
    if request["group"] < source.least:
        raise InputError(
            f"--pass-at and --cons-at up to {source.least} need as many samples of each question, not "
            f"{request['group']}: use -k {source.least}"
        )
    prompts = prompts[: request["questions"]]
    if source.preset:
        if folder is not None:
            _say_bounds(folder, request, plain=run is None)
        ui.say(
            f"{source.preset}: {len(prompts)} questions x {request['group']} samples, temperature "
            f"{request['temperature']:g}, top-p {request['top_p']:g}"
        )
    return prompts


def _is_table(file: Path) -> bool:
    """Whether a file's name says that it is data of another format than JSON lines."""
    from r1cli.prompts import formats

    return formats.is_data_name(str(file)) and file.suffix not in (".jsonl", ".ndjson")


def _data_set(source: Source, limit: int | None) -> tuple[list[Any], dict[str, Any]]:
    """The questions of data files or of a known set (without files: of its place on the hub), and its sampling."""
    from r1cli import stream
    from r1cli.prompts import dataset
    from r1cli.prompts.mapping import Fields, Tally
    from r1cli.prompts.presets import PRESETS
    from r1cli.records import Prompt

    stream.take_stdout()  # before a library can print there
    tally = Tally()
    # Of a set without a published test split, r1 prompts holds one out.
    chosen = PRESETS.get(source.preset)
    held_out = chosen is not None and chosen.shape == "countdown"
    wanted = dataset.Wanted(list(map(str, source.files)), source.preset, split="test" if held_out else None)
    lines = dataset.prompt_lines(wanted, Fields(), dataset.Ways(), tally, ui.say, progress=ui.Progress().active)
    name = source.preset or str(source.files[0])
    prompts = []
    for count, line in enumerate(itertools.islice(lines, limit), 1):
        where = f"{name}:{count}"
        prompts.append(Prompt(stream.parse(line, where), where, line.rstrip()))
    if tally.left_out:
        ui.say(f"left out {tally.reasons()}")
    if chosen is None:
        return prompts, {}
    return prompts, {"temperature": chosen.temperature, "top_p": chosen.top_p, "samples": chosen.samples}


def _say_bounds(folder: Path, request: dict[str, Any], *, plain: bool) -> None:
    """Takes a plain model's own chat template, and says so; says when its context ends before the protocol's limit."""
    import json

    def read(name: str) -> dict[str, Any]:
        try:
            return json.loads((folder / name).read_bytes())
        except (OSError, ValueError):
            return {}  # the backend says what is wrong with it

    chat = (folder / "chat_template.jinja").exists() or bool(read("tokenizer_config.json").get("chat_template"))
    if plain and chat and not request["template"]:
        request["template"] = "chat"
        ui.say("the model's own chat template is used; --template names another")
    context = read("config.json").get("max_position_embeddings")
    longest = request["max_tokens"] or LONGEST
    if isinstance(context, int) and context <= longest:
        ui.say(f"samples end with the model's context of {context} tokens, before the {longest} that are allowed")


def _policy(source: Source, *, whole: bool) -> dict[str, Any]:
    """What is known of the policy before it is asked; a run's version only when nothing is left to sample."""
    from r1cli.backend.base import is_url
    from r1cli.runs import locate

    if is_url(source.checkpoint):
        known = {"url": source.checkpoint.rstrip("/")}
        return known | ({"model": source.model} if source.model else {})
    _, run = locate(source.checkpoint)
    return {"run": run.id, "version": run.state().version} if run and whole else {"url": None}
