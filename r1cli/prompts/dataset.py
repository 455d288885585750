"""From what a user asked for, sources, a preset and mapping options, to the lines of prompt records.

A path that exists is a file or a folder; any other `owner/name` is a data set on the hub; a preset without a source
has a place of its own there.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from r1cli.errors import InputError, nearest
from r1cli.prompts import formats, hub
from r1cli.prompts.mapping import Fields, Tally, convert, with_fields
from r1cli.prompts.presets import PRESETS, Preset
from r1cli.prompts.shapes import Plan
from r1cli.prompts.sources import SPLITS, TASKS


class Wanted(NamedTuple):
    """Which rows: the sources, and what says which part of them and how they are read."""

    sources: list[str]
    preset: str | None = None
    split: str | None = None
    config: str | None = None
    revision: str | None = None
    input_format: str | None = None
    unique: bool = False
    skip_bad: bool = False


class Ways(NamedTuple):
    """How questions are put: seed and number of the orders of choices, and where large tests go."""

    seed: int = 0
    repeat: int = 1
    shuffle_choices: bool | None = None
    tests_dir: Path | None = None


def prompt_lines(
    wanted: Wanted, said: Fields, ways: Ways, tally: Tally, note: Callable[[str], None], *, progress: bool = False
) -> Iterator[bytes]:
    """The lines of prompt records; nothing is read before the first is asked for.

    Raises InputError at once for a combination that has no meaning. `note` is told what was found out by itself.
    """
    sources, preset = list(wanted.sources), _preset(wanted)
    if preset and sources == [preset.name] and not Path(preset.name).exists():
        sources = []
    if preset is None and not sources:
        raise InputError("nothing to read: name a SOURCE (- is standard input) or a --preset")
    places = [_place(source) for source in sources] or ["hub"]
    near = nearest(sources[0], (*TASKS, *PRESETS)) if places[0] == "file" else ""
    if near and not Path(sources[0]).exists():
        raise InputError(f"no SOURCE {sources[0]}: expected a generated task, a preset, a file or OWNER/NAME{near}")
    if len(set(places)) > 1:
        raise InputError(f"files and data sets cannot be read together: {', '.join(sources)}")
    if preset is None:
        _choices_only(ways, "name the --preset of such a data set")
        if ways.tests_dir:
            raise InputError("--tests-dir is for programming questions; name the --preset of such a data set")
    plan = _plan(preset, said, ways, wanted) if preset else None
    if places[0] == "file":
        _only_for_hub(wanted, preset)
        rows: Iterator[formats.Row] = formats.read([Path(source) for source in sources], wanted.input_format)
    else:
        if wanted.input_format:
            raise InputError("--input-format is for files; a data set's are read by their names")
        rows = _hub_rows(sources, preset, wanted, progress)
    return convert(rows, plan, said, tally, note, skip_bad=wanted.skip_bad, unique=wanted.unique)


def _preset(wanted: Wanted) -> Preset | None:
    name = wanted.preset
    if name is None and len(wanted.sources) == 1 and wanted.sources[0] in PRESETS:
        name = wanted.sources[0] if not Path(wanted.sources[0]).exists() else None
    if name is not None and name not in PRESETS:
        raise InputError(f"no preset {name}: expected one of {', '.join(PRESETS)}{nearest(name, PRESETS)}")
    return PRESETS[name] if name else None


def _place(source: str) -> str:
    path = Path(source)
    if path.is_dir() or (not path.exists() and hub.is_id(source)):
        return "hub"
    return "file"


def _plan(preset: Preset, said: Fields, ways: Ways, wanted: Wanted) -> Plan:
    mapped = with_fields(preset, said)
    shuffles = mapped.shuffle_choices if ways.shuffle_choices is None else ways.shuffle_choices
    if mapped.shape != "choice":
        _choices_only(ways, f"preset {preset.name} has none")
    elif ways.repeat > 1 and not shuffles:
        raise InputError("--repeat is for shuffled choices; to sample a question more often use -k or --group")
    if ways.tests_dir and mapped.shape != "code":
        raise InputError(f"--tests-dir is for programming questions; preset {preset.name} has none")
    # The published set has no test split, so one is held out by hash, as of the generated task.
    split = (wanted.split or "train") if mapped.shape == "countdown" else None
    if split and split not in SPLITS:
        raise InputError(f"{preset.name} has no split {split}: expected {' or '.join(SPLITS)}")
    return Plan(
        mapped, task_field=said.task_field, seed=ways.seed, repeat=ways.repeat, shuffle_choices=shuffles,
        tests_dir=ways.tests_dir, split=split,
    )  # fmt: skip


def _choices_only(ways: Ways, why: str) -> None:
    for option, given in (("--repeat", ways.repeat > 1), ("--shuffle-choices", ways.shuffle_choices is not None)):
        if given:
            raise InputError(f"{option} is for multiple choice; {why}")


def _only_for_hub(wanted: Wanted, preset: Preset | None) -> None:
    by_hash = preset is not None and preset.shape == "countdown"
    if wanted.split and not by_hash:
        raise InputError("--split is for generated tasks and data sets; a file is one split")
    for option, value in (("--config", wanted.config), ("--revision", wanted.revision)):
        if value:
            raise InputError(f"{option} is for data sets on the hub; name the file that you want")


def _hub_rows(sources: list[str], preset: Preset | None, wanted: Wanted, progress: bool) -> Iterator[formats.Row]:
    configs, split = (wanted.config,) if wanted.config else (), wanted.split
    if preset:
        split = preset.split if preset.shape == "countdown" or not split else split
        # Another copy of the set may have other configurations, or none.
        configs = configs or (preset.configs if sources in ([], [preset.hub]) else ())
    for name in sources or [preset.hub if preset else ""]:
        yield from hub.rows(name, configs, split, wanted.revision, progress=progress)
