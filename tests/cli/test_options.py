"""The options of all commands: held against the settings they set, and against each other."""

import shlex
from dataclasses import fields
from typing import get_args

import pytest
import typer

from r1cli import options, usage
from r1cli.algorithms.settings import CHOICES, GrpoSettings
from r1cli.algorithms.sft_settings import SFT_CHOICES, SftSettings
from r1cli.app import COMMANDS, find
from r1cli.backend.adapters import TARGETS
from r1cli.commands.reward import built_in
from r1cli.prompts.sources import TASKS
from r1cli.rewards import JUDGES, function_of
from r1cli.rewards.verdict import SHAPES

# Options of grpo-step that say what to do with the run and not how to compute the update.
ABOUT_THE_RUN = {
    "run", "files", "max_staleness", "allow_partial", "keep", "save_every", "refresh_reference", "output", "device",
    "threads", "gradient_checkpointing", "quiet", "verbose",
}  # fmt: skip
# The same of sft; and the setting that follows from the examples.
ABOUT_THE_EXAMPLES = {
    "checkpoint", "examples", "out", "template", "validation", "retokenize", "restart", "save_every", "keep", "output",
    "skip_bad", "device", "threads", "gradient_checkpointing", "quiet", "verbose",
}  # fmt: skip
ABOUT_THE_STUDENT = ABOUT_THE_EXAMPLES - {"checkpoint", "examples", "retokenize"} | {
    "student", "records", "teacher", "sample", "reward", "filter_", "work", "on_policy", "top_k",
}  # fmt: skip
DERIVED = {"total_steps"}
SETTINGS = (
    ("grpo-step", GrpoSettings, CHOICES, ABOUT_THE_RUN, set()),
    ("sft", SftSettings, SFT_CHOICES, ABOUT_THE_EXAMPLES, DERIVED),
    ("distill", SftSettings, SFT_CHOICES, ABOUT_THE_STUDENT, DERIVED),
)

GROUP = typer.main.get_command(usage.build({name: find(name) for name in COMMANDS}))

# serve --stop is the field's word for ending a server, sample --stop TEXT the field's word for stop strings.
# A run's task has two splits, a data set whatever splits its owner made.
TWO_MEANINGS = {"--stop", "--split"}


def parameters(command):
    """A command's parameters by the name of their Python argument; --help itself is left out."""
    return {parameter.name: parameter for parameter in GROUP.commands[command].params if parameter.name != "help"}


def spelled(parameter):
    return {name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-")}


def value_kind(parameter):
    """int, float, bool, choice, path or string: the parser has several types for some of them."""
    name = type(parameter.type).__name__.lower()
    return next(kind for kind in ("int", "float", "bool", "choice", "path", "string") if kind in name)


def test_choices_equal_the_registries():
    """options.py may import nothing heavy, so its choices are written out: here they meet what they stand for."""
    literals = {
        "loss": options.Loss, "normalize": options.Normalize, "scale": options.Scale, "baseline": options.Baseline,
        "kl_estimator": options.KlEstimator, "correction": options.Correction, "decay": options.Decay,
        "old_logprobs": options.OldLogprobs,
    }  # fmt: skip
    assert {name: get_args(literal) for name, literal in literals.items()} == CHOICES
    assert get_args(options.Shape) == SHAPES
    literals = {"loss": options.SftLoss, "normalize": options.SftNormalize, "decay": options.Decay}
    assert {name: get_args(literal) for name, literal in literals.items()} == SFT_CHOICES
    assert get_args(options.LoraTargets) == tuple(TARGETS)


@pytest.mark.parametrize(("command", "settings", "choices", "others", "derived"), SETTINGS)
def test_every_setting_is_an_option_and_every_option_a_setting(command, settings, choices, others, derived):
    """A setting that cannot be set, or an option that nobody reads, is a mistake."""
    assert set(parameters(command)) - others == {field.name for field in fields(settings)} - derived
    assert set(parameters(command)) >= others


@pytest.mark.parametrize(("command", "settings", "choices", "others", "derived"), SETTINGS)
def test_options_of_settings_have_their_type_and_no_default(command, settings, choices, others, derived):
    """None means: not asked, so run.json decides; a default here would silently win over it."""
    found = parameters(command)
    for field in fields(settings):
        if field.name in derived:
            continue
        types = [kind for kind in get_args(field.type) or (field.type,) if kind is not type(None)]
        expected = "choice" if field.name in choices else types[0].__name__
        assert (value_kind(found[field.name]), found[field.name].default) == (expected, None), field.name


def test_rewards_are_options():
    """Each option that is a reward has a judge, or a file of its name that scores a record; the others are none."""
    spelt = {name for parameter in parameters("reward").values() for name in spelled(parameter)}
    assert {f"--{name}" for name in built_in()} <= spelt
    assert set(JUDGES) <= set(built_in())
    own_settings = {"length", "judge"}  # made by the command
    for name in set(built_in()) - set(JUDGES) - own_settings:
        assert callable(function_of(name))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help_and_is_spelled_once(command):
    """Help for each; values have a metavar or choices; short options only those that mean the same everywhere."""
    seen = set()
    for parameter in parameters(command).values():
        assert parameter.help and parameter.help.strip() == parameter.help, parameter.name
        assert parameter.help.endswith((".", "off")), parameter.name
        assert not spelled(parameter) & seen, parameter.name
        seen |= spelled(parameter)
    assert {name for name in seen if not name.startswith("--")} <= {"-o", "-n", "-q", "-v", "-k", "-f", "-m", "-j"}
    if command != "plot":
        assert {"--quiet", "--verbose", "-q", "-v"} <= seen


def test_same_name_means_the_same_everywhere():
    """One name, one type, one spelling."""
    first = {}
    for command in COMMANDS:
        for parameter in parameters(command).values():
            for name in spelled(parameter) - TWO_MEANINGS:
                meaning = value_kind(parameter), spelled(parameter), parameter.multiple
                where, known = first.setdefault(name, (command, meaning))
                assert meaning == known, f"{name} of {command} and {where}"


def commands_of(line):
    """The words of each command of a shell line; options of a stage of distill are a command of their own."""
    words, stages = [[]], []
    for word in shlex.split(line, comments=True):
        if " " in word and words[-1][-1] in ("--sample", "--reward", "--filter"):
            stages.append(["r1", words[-1][-1].removeprefix("--"), *word.split()])
            word = "OPTIONS"
        words.append([]) if word == "|" else words[-1].append(word)
    return [*words, *stages]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command):
    """Each command's docstring shows how it is used, beginning with r1 and naming only options that exist."""
    text = GROUP.commands[command].help
    _, _, examples = text.partition("Example")
    lines = [line.strip() for line in examples.splitlines()[1:] if line.strip()]
    assert lines
    for line in lines:
        for words in commands_of(line):
            if words[0] == "r1":
                known = {name for parameter in parameters(words[1]).values() for name in spelled(parameter)}
                used = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
                assert used <= known, line


def test_tasks_are_named_in_the_help():
    for command, name in (("prompts", "source"), ("init", "task")):
        for task in TASKS:
            assert task in parameters(command)[name].help
