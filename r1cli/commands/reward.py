"""r1 reward"""

from typing import Annotated, Any

from r1cli import options, ui
from r1cli.options import Option


def reward(
    files: options.Files = None,
    accuracy: Annotated[
        bool, Option("--accuracy", help="1 when the final answer equals the record's `answer`, else 0.")
    ] = False,
    format_: Annotated[
        bool, Option("--format", help="1 when thinking and answer stand in their tags and nothing else, else 0.")
    ] = False,
    language: Annotated[
        str | None,
        Option(
            metavar="[LANG]", help="Share of words of the thinking in LANG: auto (the prompt's), en, zh, ja, ko, ..."
        ),
    ] = None,
    weight: Annotated[
        list[str] | None, Option(metavar="NAME=W", help="Weight of a reward in the sum (default 1); repeatable.")
    ] = None,
    format_shape: Annotated[
        options.Shape, Option(help="zero: think and answer tags (R1-Zero); think: think tags only (R1).")
    ] = "zero",
    language_detector: Annotated[
        bool, Option("--language-detector", help="Judge Latin sentences by py3langid too (extra: lang).")
    ] = False,
    lenient: Annotated[
        bool, Option("--lenient", help="Also read `answer is X` where nothing is tagged or boxed.")
    ] = False,
    output: options.Output = None,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Judge completions: adds rewards, their sum and the reasons.

    Writes `rewards`, their weighted sum `reward`, and `reward_info` with the reason of each.
    Reads rollouts, or any records with a `completion` (and an `answer`). A reward that does not apply is left out of
    the sum; one that failed makes the sum null, never 0. Everything else in the record passes through as it came.

    \b
    Examples:
      r1 sample ckpt | r1 reward --format --accuracy --weight format=0.3 | r1 grpo-step
      r1 reward --accuracy --language en < rollouts.jsonl | jq -c 'select(.reward > 1)'
    """
    ui.setup("reward", quiet, verbose)
    import orjson

    from r1cli import rewards, stream
    from r1cli.errors import InputError
    from r1cli.records import REWARD_KEYS, need
    from r1cli.rewards.language import scripts_of
    from r1cli.rewards.summary import Summary

    chosen = {"accuracy": accuracy, "format": format_, "language": language is not None}
    names = [name for name, wanted in chosen.items() if wanted]
    if not names:
        raise InputError("nothing to judge by: name at least one of --accuracy, --format, --language")
    for option, given, judge in (
        ("--lenient", lenient, "accuracy"),
        ("--format-shape", format_shape != "zero", "format"),
        ("--language-detector", language_detector, "language"),
    ):
        if given and judge not in names:
            raise InputError(f"{option} says how --{judge} judges, which was not asked for")
    weights = _weights(weight or [], names)
    rewards.check_weights(weights)
    if language not in (None, "auto"):
        scripts_of(language)  # before anything is read: a file name may have been taken for the language
    settings = rewards.Options(
        lenient=lenient, format_shape=format_shape, language=language or "auto", language_detector=language_detector
    )
    summary = Summary(names)
    with stream.Writer(output) as out:
        for line in stream.read(files or [], skip_bad=skip_bad):
            record = line.record
            try:
                need(record, "completion", str, line.where)
                verdict = _judge(record, weights, settings, line.where)
            except InputError:
                if not skip_bad:
                    raise
                summary.bad += 1
                continue
            # Spliced on, so that what came in leaves byte for byte as it came.
            kept = record.keys().isdisjoint(REWARD_KEYS)
            body = (line.raw if kept else stream.without(line.raw, REWARD_KEYS)).rstrip()[:-1]
            comma = b"" if record.keys() <= set(REWARD_KEYS) else b","
            out.write(body + comma + orjson.dumps(verdict)[1:] + b"\n")
            summary.add(record, verdict)
    for warning in summary.warnings():
        ui.warn(warning)
    ui.say(summary.line())


def _judge(record: dict[str, Any], weights: dict[str, float], settings: Any, where: str) -> dict[str, Any]:
    from r1cli import rewards
    from r1cli.errors import InputError

    try:
        return rewards.judge(record, weights, settings)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _weights(given: list[str], names: list[str]) -> dict[str, float]:
    """The weight of each chosen reward, 1 unless given as NAME=W."""
    from r1cli.errors import InputError

    weights = dict.fromkeys(names, 1.0)
    for text in given:
        name, _, number = text.partition("=")
        if name not in weights:
            raise InputError(f"--weight {text}: {name} is not among the rewards asked for ({', '.join(names)})")
        try:
            weights[name] = float(number)
        except ValueError:
            raise InputError(f"--weight {text}: expected NAME=NUMBER") from None
    return weights
