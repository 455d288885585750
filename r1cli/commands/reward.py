"""r1 reward"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from r1cli import options, ui
from r1cli.options import Option

# Parameters that are no reward; every other one is, with the name of its file in rewards/ or of its judge.
HANDLING = {"files", "exec_", "python", "weight", "selftest", "output", "skip_bad", "quiet", "verbose"}
# What each option is about: it is refused where none of these was asked for.
SETTINGS = {
    "lenient": ("accuracy", "ifeval"), "format_shape": ("format_",), "language_detector": ("language",),
    "max_length": ("length",), "length_cache": ("length",), "ngram": ("repetition",), "partial": ("code",),
    "sandbox": ("code",), "unsafe_no_sandbox": ("code",), "code_timeout": ("code",), "code_memory": ("code",),
    "judge_model": ("judge",), "judge_prompt": ("judge",), "concurrency": ("judge",), "timeout": ("exec_", "python"),
    "on_error": ("exec_", "python"), "jobs": ("accuracy", "code"),
}  # fmt: skip
HEADINGS = {
    "accuracy": "Rewards", "weight": "How they judge", "sandbox": "Programs (--code)",
    "judge_model": "A model (--judge)", "timeout": "Your own (--exec, --python)", "jobs": "Running",
}  # fmt: skip


def reward(
    files: options.Files = None,
    accuracy: Annotated[
        bool, Option("--accuracy", help="1 when the final answer equals the record's `answer`, else 0.")
    ] = False,
    choice: Annotated[
        bool, Option("--choice", help="1 when the letter that the answer names is the record's `answer`.")
    ] = False,
    code: Annotated[
        bool, Option("--code", help="1 when the program passes all of the record's `tests`, in a sandbox.")
    ] = False,
    ifeval: Annotated[bool, Option("--ifeval", help="1 when all of the record's `instructions` are followed.")] = False,
    format_: Annotated[
        bool, Option("--format", help="1 when thinking and answer stand in their tags and nothing else, else 0.")
    ] = False,
    language: Annotated[
        str | None,
        Option(
            metavar="[LANG]",
            help="Share of the thinking's words in LANG's script: auto (the prompt's), en, zh, ja, ko, ...",
        ),
    ] = None,
    length: Annotated[
        options.Length | None,
        Option(help="dapo: punish what nears --max-length; kimi: prefer a group's short ones; cosine: by a curve."),
    ] = None,
    repetition: Annotated[
        bool, Option("--repetition", help="Minus the share of n-grams that came before (see --ngram).")
    ] = False,
    judge: Annotated[
        str | None, Option(metavar="CKPT|URL", help="A model compares the answer with the record's `answer`.")
    ] = None,
    exec_: Annotated[
        list[str] | None,
        Option("--exec", metavar="NAME=CMD", help="Your program: a record a line in, {rid, reward} out; repeatable."),
    ] = None,
    python: Annotated[
        list[str] | None,
        Option(metavar="[NAME=]FILE:FUNC", help="A Python function of yours, also one written for TRL; repeatable."),
    ] = None,
    weight: Annotated[
        list[str] | None, Option(metavar="NAME=W", help="Weight of a reward in the sum (default 1); repeatable.")
    ] = None,
    lenient: Annotated[
        bool, Option("--lenient", help="Also read `answer is X` where nothing is tagged or boxed; IFEval's loose mode.")
    ] = False,
    format_shape: Annotated[
        options.Shape, Option(help="zero: think and answer tags (R1-Zero); think: think tags only (R1).")
    ] = "zero",
    language_detector: Annotated[
        bool, Option("--language-detector", help="Tell Latin languages apart, by py3langid (extra: lang).")
    ] = False,
    max_length: Annotated[
        int | None, Option(metavar="N", min=1, help="--length: longest completion, in tokens (default: as sampled).")
    ] = None,
    length_cache: Annotated[
        int | None, Option(metavar="N", min=1, help="--length dapo: tokens before the longest that are punished.")
    ] = None,
    ngram: Annotated[
        int | None, Option(metavar="N", min=1, help="--repetition: words of an n-gram (default: 20).")
    ] = None,
    partial: Annotated[
        bool, Option("--partial", help="--code: the share of tests passed, not all or nothing.")
    ] = False,
    sandbox: Annotated[options.Sandbox | None, Option(help="--code: what holds the programs (default: auto).")] = None,
    unsafe_no_sandbox: Annotated[
        bool, Option("--unsafe-no-sandbox", help="--code: run them with resource limits only, as you.")
    ] = False,
    code_timeout: Annotated[
        float | None, Option(metavar="S", min=0.1, help="--code: CPU seconds per test (default: the record's, or 6).")
    ] = None,
    code_memory: Annotated[
        int | None, Option(metavar="MIB", min=16, help="--code: memory (default: the record's, or 512).")
    ] = None,
    judge_model: Annotated[
        str | None, Option(metavar="NAME", help="--judge URL: the model there (default: its only one).")
    ] = None,
    judge_prompt: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help='--judge: a prompt with {question}, {reference}, {answer}; it must ask for {"verdict": ...}.',
        ),
    ] = None,
    concurrency: Annotated[
        int | None, Option(metavar="N", min=1, help="--judge URL: requests at once (default: 32).")
    ] = None,
    timeout: Annotated[
        float | None, Option(metavar="S", min=0.1, help="--exec, --python: seconds for a record (default: 10).")
    ] = None,
    on_error: Annotated[
        options.OnError | None, Option(help="--exec, --python: what a failing one does (default: fail).")
    ] = None,
    jobs: Annotated[
        int | None, Option("--jobs", "-j", metavar="N", min=1, help="Processes that judge (default: one per CPU).")
    ] = None,
    selftest: Annotated[
        bool, Option("--selftest", help="Judge each record's own answer instead of a completion: all must pass.")
    ] = False,
    output: options.Output = None,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Judge completions: adds rewards, their sum and the reasons.

    Writes `rewards`, their weighted sum `reward`, and `reward_info` with the reason of each, in input order, while the
    input still comes. Reads rollouts, or any records with a `completion` and what the reward compares it with. A reward
    that does not apply is left out of the sum; one that failed makes the sum null, never 0. Everything else in the
    record passes through as it came.

    \b
    Examples:
      r1 sample ckpt | r1 reward --format --accuracy --weight format=0.3 | r1 grpo-step
      r1 reward --accuracy --language en < rollouts.jsonl | jq -c 'select(.reward > 1)'
      r1 reward --code --partial < programs.jsonl > judged.jsonl
      r1 reward --exec 'short=jq -c "{rid, reward: (1 / (.completion | length))}"' < rollouts.jsonl
      r1 reward --accuracy --selftest < questions.jsonl > /dev/null
    """
    ui.setup("reward", quiet, verbose)
    given = {name: value for name, value in locals().items() if value not in (None, False, [])}
    import orjson

    from r1cli import rewards, stream
    from r1cli.commands import reward_terms
    from r1cli.errors import InputError, R1Error
    from r1cli.rewards import selftest as own
    from r1cli.rewards.language import check_target
    from r1cli.rewards.summary import Summary

    _check_settings(given)
    plugins = reward_terms.plugins(given, built_in())
    names = [name for name in built_in() if name in given or f"{name}_" in given] + list(plugins)
    if not names:
        known = ", ".join(f"--{name}" for name in (*built_in(), "exec", "python"))
        raise InputError(f"nothing to judge by: name at least one of {known}")
    if selftest and (len(names) > 1 or names[0] not in own.REFERENCES):
        raise InputError(
            f"--selftest takes one of {', '.join('--' + name for name in own.REFERENCES)}, and nothing else"
        )
    settings = rewards.Options(
        lenient=lenient, format_shape=format_shape, language=language or "auto", language_detector=language_detector,
        ngram=ngram or 20, jobs=jobs,
    )  # fmt: skip
    if language:
        check_target(settings.language)  # now: a file name may have been taken for the language
    weights = reward_terms.weights(weight or [], names)
    failing = 0
    summary = Summary(names)
    grader = rewards.open_grader(weights, settings, [*reward_terms.judges(given), *plugins.values()])
    with stream.Writer(output) as out, grader:
        items = _items(files or [], skip_bad, names[0] if selftest else None)
        progress = ui.Progress()
        alone = bool(files) or not stream.piped_in()  # in a pipe the stage that makes the records tells how many
        for (body, (group, where)), verdict in grader.run(items, skip_bad=skip_bad):
            if alone:
                progress.update(f"{summary.count} judged")
            out.write(body + orjson.dumps(verdict)[1:] + b"\n")
            summary.add(group, verdict)
            if selftest and verdict["reward"] != 1.0:
                failing += 1
                ui.warn(f"{where}: the reference fails: {verdict['reward_info'][names[0]]['reason']}")
        progress.clear()
        summary.bad = grader.skipped
    for warning in summary.warnings():
        ui.warn(warning)
    ui.say(summary.line())
    if failing:
        raise R1Error(f"{failing} of {summary.count} references do not pass their own grader")


def built_in() -> tuple[str, ...]:
    """The names of our own rewards, as the options declare them."""
    about = HANDLING | set(SETTINGS)
    return tuple(name.rstrip("_") for name in reward.__annotations__ if name not in about and name != "return")


def _items(files: list[Path], skip_bad: bool, reference: str | None) -> Iterator[tuple[dict, str, Any]]:
    """Records to judge. Each line is held as far as it stays: verdicts are spliced on behind it, byte for byte."""
    from r1cli import stream
    from r1cli.records import REWARD_KEYS, need
    from r1cli.rewards.grading import Held
    from r1cli.rewards.selftest import with_reference

    def check(record: dict[str, Any], where: str) -> dict[str, Any]:
        if reference:
            return with_reference(record, reference, where)
        need(record, "completion", str, where)
        return record

    for line in stream.read(files, check=check, skip_bad=skip_bad):
        kept = line.record.keys().isdisjoint(REWARD_KEYS)
        body = (line.raw if kept else stream.without(line.raw, REWARD_KEYS)).rstrip()[:-1].rstrip()
        group = line.record.get("group")
        note = (str(group.get("id")) if isinstance(group, dict) else None, line.where)
        yield line.record, line.where, Held(body + (b"" if body.endswith(b"{") else b","), note)


def _check_settings(given: dict[str, Any]) -> None:
    """Raises InputError for an option that says how a reward judges which was not asked for."""
    from r1cli.errors import InputError

    for option, needed in SETTINGS.items():
        value = given.get(option)
        if value not in (None, "zero") and not any(name in given for name in needed):
            wanted = " or ".join(f"--{name.rstrip('_')}" for name in needed)
            raise InputError(f"--{option.replace('_', '-')} says how {wanted} judges, which was not asked for")
