"""r1 filter"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from r1cli import options, ui
from r1cli.options import Option

# What says how lines are handled; every other option is a setting of the filters.
HANDLING = {"files", "mark", "rejects", "output", "skip_bad", "quiet", "verbose"}


HEADINGS = {
    "finish_reason": "By the record", "decontaminate": "Against others", "solve_rate": "By a prompt's samples",
    "mark": "What becomes of the dropped",
}  # fmt: skip


def filter_(
    files: options.Files = None,
    finish_reason: Annotated[
        list[str] | None, Option(metavar="R", help="Keep what finished by R, such as stop; repeatable.")
    ] = None,
    correct: Annotated[
        bool, Option("--correct", help="Keep right answers: rewards.accuracy, choice, code or ifeval is 1.")
    ] = False,
    correct_by: Annotated[
        str | None, Option(metavar="NAME", help="The reward that says so, such as judge or a plug-in's.")
    ] = None,
    min_reward: Annotated[float | None, Option(metavar="X", help="Keep rewards of X and more.")] = None,
    max_tokens: options.MaxTokens = None,
    max_chars: Annotated[int | None, Option(metavar="N", min=1, help="Longest completion, in characters.")] = None,
    no_code_in_think: Annotated[
        bool, Option("--no-code-in-think", help="Drop thoughts with a fenced code block.")
    ] = False,
    max_paragraph_chars: Annotated[
        int | None, Option(metavar="N", min=1, help="Longest paragraph of a thought, in characters.")
    ] = None,
    language_min: Annotated[
        float | None,
        Option(metavar="X", min=0, max=1, help="Least share of words in the language, e.g. 0.9."),
    ] = None,
    language: Annotated[
        str | None, Option(metavar="[LANG]", help="That language: auto (the prompt's), en, zh, ja, ko, ...")
    ] = None,
    max_repeat: Annotated[
        float | None, Option(metavar="X", min=0, max=1, help="Largest share of repeated 4-grams, e.g. 0.2.")
    ] = None,
    decontaminate: Annotated[
        list[Path] | None, Option(metavar="FILE", help="Drop prompts that share words with this set; repeatable.")
    ] = None,
    ngram: Annotated[int | None, Option(metavar="N", min=1, help="How many words in a row (default: 10).")] = None,
    decontaminate_answers: Annotated[
        bool, Option("--decontaminate-answers", help="Look for them in the completion too.")
    ] = False,
    dedupe: Annotated[
        Literal["exact", "near"] | None, Option(help="Drop what came before: the same, or much alike (extra: dedupe).")
    ] = None,
    dedupe_by: Annotated[
        Literal["prompt", "completion", "both"] | None, Option(help="What is compared (default: both).")
    ] = None,
    similarity: Annotated[
        float | None, Option(metavar="X", min=0, max=1, help="What near means: Jaccard of 3-word runs (default: 0.7).")
    ] = None,
    solve_rate: Annotated[
        str | None, Option(metavar="LO:HI", help="Keep prompts of which such a share is right, e.g. 0.05:0.95.")
    ] = None,
    informative: Annotated[
        bool, Option("--informative", help="Keep prompts whose rewards differ: others give no gradient.")
    ] = False,
    best_of: Annotated[
        Literal["shortest", "longest", "reward", "first"] | None, Option(help="Of each prompt, keep the best.")
    ] = None,
    per_prompt: Annotated[
        int | None, Option(metavar="N", min=1, help="Of each prompt, keep N: the best ones, else the first.")
    ] = None,
    whole_input: Annotated[
        bool, Option("--whole-input", help="Take a prompt's samples together wherever they are in the input.")
    ] = False,
    mark: Annotated[
        bool, Option("--mark", help="Drop nothing: add `dropped` with the reason, as trainers need it.")
    ] = False,
    rejects: Annotated[Path | None, Option(metavar="FILE", help="Keep what is dropped here, with the reason.")] = None,
    output: options.Output = None,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Keep the good records: rejection sampling, decontamination.

    Kept lines leave byte for byte as they came, in their order. A record is dropped by the first filter that it fails,
    in this order: --finish-reason, --correct, --min-reward, --max-tokens, --max-chars, --no-code-in-think,
    --max-paragraph-chars, --language-min, --max-repeat, --decontaminate, --dedupe, --solve-rate, --informative,
    --best-of and --per-prompt. The closing line counts the reasons.

    --solve-rate and --informative judge all samples of a prompt as they came; --best-of and --per-prompt choose among
    those that are left, the earlier of equals first. These four wait for a prompt's samples, which group.size tells;
    without it they hold the input (in a temporary file when it is large). --per-prompt alone and --best-of first do
    not wait. Everything else streams.

    A record that came with `dropped` keeps it and is not judged again; without --mark it is removed. In front of
    r1 grpo-step use --mark: a batch must stay complete.

    --decontaminate takes JSON lines with a prompt, problem or question, whose solutions count too. Prompts of fewer
    than N words are compared whole. Words that stand in a tenth of a file's questions are taken for its instructions.

    \b
    Examples:
      r1 sample ckpt | r1 reward --accuracy | r1 filter --mark --informative | r1 grpo-step
      r1 filter --correct --best-of shortest --rejects dropped.jsonl < rewarded.jsonl > sft.jsonl
      r1 filter --decontaminate aime24.jsonl --decontaminate math500.jsonl --dedupe exact prompts.jsonl
    """
    given = {name: value for name, value in locals().items() if name not in HANDLING}
    ui.setup("filter", quiet, verbose)
    from collections import Counter
    from contextlib import nullcontext

    from r1cli.errors import InputError
    from r1cli.filters.pipeline import Pipeline
    from r1cli.filters.settings import NGRAM, Settings
    from r1cli.stream import Writer

    if rejects is not None and output is not None and rejects.resolve() == output.resolve():
        raise InputError(f"--rejects and --output both name {output}; dropped and kept records need a file each")
    given |= {"finish_reason": tuple(finish_reason or ()), "decontaminate": None}
    if decontaminate:
        given["decontaminate"] = _index(decontaminate, NGRAM if ngram is None else ngram)
    pipeline = Pipeline(Settings.of(given), ui.say)
    counts: Counter[str] = Counter()
    lines = _examined(files or [], pipeline.examine, skip_bad)
    with Writer(output) as out, nullcontext() if rejects is None else Writer(rejects) as dropped:
        for raw, reason in pipeline.run(lines):
            if reason is None:
                counts["kept"] += 1
                out.write(raw + b"\n")
                continue
            counts[reason.partition(":")[0]] += 1
            if mark or dropped:
                raw = _marked(raw, reason)
            if mark:
                out.write(raw)
            if dropped:
                dropped.write(raw)
    ui.say(_summary(counts, mark))


def _index(files: list[Path], n: int) -> Any:
    """The n-grams of the evaluation sets."""
    from r1cli.filters.decontaminate import Index
    from r1cli.stream import read

    index = Index(n)
    for path in files:
        index.add_file(str(path), ((line.record, line.where) for line in read([path])))
    if index.common:
        ui.detail(f"{index.common} {n}-grams stand in a tenth of a file's questions: taken for instructions")
    return index


def _examined(files: list[Path], examine: Callable[[dict], Any], skip_bad: bool) -> Iterator[tuple[bytes, Any]]:
    """Each line with what the filters found out about it; an error gets its place, or with skip_bad is counted."""
    from r1cli.errors import InputError
    from r1cli.stream import parse, raw_lines

    skipped = 0
    for raw, where in raw_lines(files):
        try:
            record = parse(raw, where)
        except InputError:
            if not skip_bad:
                raise
            skipped += 1
            continue
        try:
            found = examine(record)
        except InputError as error:
            if not skip_bad:
                raise InputError(f"{where}: {error}") from None
            skipped += 1
            continue
        yield raw, found
    if skipped:
        ui.warn(f"skipped {skipped} bad lines")


def _marked(raw: bytes, reason: str) -> bytes:
    """The line with `dropped` spliced on; one that came with it stays as it was."""
    import orjson

    from r1cli.filters.pipeline import EARLIER
    from r1cli.stream import without

    if reason == EARLIER:
        return raw + b"\n"
    # An empty mark ("dropped": null) is none, and must not stand beside the new one.
    body = (without(raw, ("dropped",)) if b'"dropped"' in raw else raw).rstrip()[:-1]
    comma = b"" if body.strip() == b"{" else b","
    return body + comma + b'"dropped":' + orjson.dumps(reason) + b"}\n"


def _summary(counts: Any, mark: bool) -> str:
    """One line: how many records were kept, and how many were dropped for which reason."""
    total, kept = sum(counts.values()), counts.pop("kept", 0)
    reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in counts.most_common())
    return f"kept {kept} of {total}" + (f"; {'marked' if mark else 'dropped'}: {reasons}" if reasons else "")
