"""r1 sample"""

from pathlib import Path
from typing import Annotated

from r1cli import options, ui
from r1cli.options import Argument, Option

HEADINGS = {
    "questions": "What is sampled", "temperature": "Sampling", "template": "Prompts", "seed": "Which batch",
    "model": "A server's URL",
}  # fmt: skip


def sample(
    checkpoint: Annotated[
        str, Argument(metavar="CKPT", help="A run, a model folder, a cached hub id, tiny, or a URL.")
    ],
    prompts: Annotated[
        list[Path] | None,
        Argument(metavar="[PROMPTS]...", help="JSONL files, or - for stdin; none: the run's own task."),
    ] = None,
    questions: Annotated[
        int | None, Option(metavar="N", min=1, help="Questions to draw, or to take from PROMPTS (paper: 32).")
    ] = None,
    group: Annotated[int | None, Option(metavar="G", min=1, help="Samples per question (paper: 16).")] = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    max_tokens: options.MaxTokens = None,
    stop: options.Stop = None,
    template: options.Template = None,
    few_shot: Annotated[
        Path | None,
        Option("--few-shot", metavar="FILE", help="Worked examples (prompt, completion) put before each question."),
    ] = None,
    prefill: Annotated[
        str | None, Option(metavar="TEXT", help="Begin each answer with TEXT, as in --prefill '<think>'.")
    ] = None,
    seed: options.Seed = None,
    draw: Annotated[
        int | None, Option(metavar="N", min=0, help="Another batch at the same step: the Nth after this one.")
    ] = None,
    split: Annotated[options.Split | None, Option(help="Which questions of the run's task.")] = None,
    model: Annotated[str | None, Option(metavar="NAME", help="The model of a URL (default: its only one).")] = None,
    concurrency: Annotated[
        int | None, Option(metavar="N", min=1, help="Requests to a URL at a time (default: 32).")
    ] = None,
    output: options.Output = None,
    skip_bad: options.SkipBad = False,
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
    """Sample groups of completions with their log-probabilities.

    Each rollout carries its token ids and the policy that it came from. A run draws its own next questions; prompts are
    read only from files that are named, or from - . The same command at the same step gives the same rollouts; the
    questions move on when r1 grpo-step has used them. An older step is a CKPT too, RUN/step-000062: a model folder,
    which draws none.
    The URL of an OpenAI-compatible server is sampled by its own chat template unless --template says otherwise, with
    the key in R1_API_KEY or OPENAI_API_KEY: text without token ids, to judge, filter and distil from.

    \b
    Examples:
      r1 sample ckpt | r1 reward --format --accuracy | r1 grpo-step
      r1 prompts sum --split test | r1 sample ckpt - --group 1 --temperature 0 | r1 show
      r1 sample base questions.jsonl --few-shot cold.jsonl --stop 'User:' | r1 reward --accuracy | r1 filter --correct
      r1 sample https://host/v1 prompts.jsonl --model deepseek-r1 --group 4 -o teacher.jsonl
    """
    ui.setup("sample", quiet, verbose)
    from r1cli.backend.base import EngineOptions, open_backend
    from r1cli.errors import InputError, ReaderGone
    from r1cli.stream import Writer, records_wait

    out = Writer(output)
    records = None
    if prompts and split:
        raise InputError("--split chooses among the run's own questions; prompts from a file are one split")
    if prompts:
        from r1cli.prompts.sources import read_prompts
        from r1cli.records import unique_ids

        records = list(read_prompts(prompts, skip_bad=skip_bad))[:questions]
        unique_ids(records)
    shots = None
    if template or few_shot:
        from r1cli.prompts import templates

        template = templates.load(template) if template else None
        shots = templates.read_shots(few_shot) if few_shot else None
    request = {
        "questions": questions,
        "group": group,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "stop": stop,
        "template": template,
        "few_shot": shots,
        "prefill": prefill,
        "seed": seed,
        "draw": draw,
        "split": split,
    }
    progress = ui.Progress()
    with out:
        progress.update("starting")
        engine = EngineOptions(
            device, threads, slots, sampler=sampler, gpu_memory=gpu_memory, engines=engines,
            tensor_parallel=tensor_parallel,
        )  # fmt: skip
        backend = open_backend(checkpoint, engine, model=model, concurrency=concurrency)
        try:
            for count, line in enumerate(backend.sample(request, records), 1):
                out.write(line)
                progress.update(f"{count} rollouts")
                if out.reader_gone():
                    raise ReaderGone
            if records is None and records_wait():
                ui.warn(f"the records on standard input were not read; to sample from them: r1 sample {checkpoint} -")
        finally:
            # Before stdout closes, so that the next stage of the pipe finds the device free.
            backend.close()
            progress.clear()
