"""The options of r1 filter, its settings, its tables and its help say the same."""

import re
from dataclasses import fields

import pytest

from r1cli.commands.filter import HANDLING, filter_
from r1cli.errors import InputError
from r1cli.filters import GROUP_RULES, RECORD_FILTERS, own_filter
from r1cli.filters.pipeline import Pipeline
from r1cli.filters.settings import NEEDS, Settings

NAMES = {field.name for field in fields(Settings)} - {"others"}


def test_every_setting_is_an_option():
    """A setting that cannot be set, or an option that nobody reads, is a mistake; others are a file of their name."""
    names = filter_.__code__.co_varnames[: filter_.__code__.co_argcount]
    assert set(names) >= HANDLING | NAMES
    for name in set(names) - HANDLING - NAMES:
        assert callable(own_filter(name))


def test_every_setting_is_a_filter_or_serves_one():
    known = set(RECORD_FILTERS) | set(GROUP_RULES) | {"per_prompt"}
    assert known | set(NEEDS) == NAMES
    assert not known & set(NEEDS) and {owner for owners in NEEDS.values() for owner in owners} <= known


def test_help_names_the_order():
    """The order of the tables is what users read."""
    text = re.search(r"in this order: (.*?)\. The", " ".join(filter_.__doc__.split()))[1]
    named = [flag[2:].replace("-", "_") for flag in re.findall(r"--[a-z-]+", text)]
    assert named == [*RECORD_FILTERS, *GROUP_RULES, "per_prompt"]


@pytest.mark.parametrize("settings", [{"min_reward": 0.0}, {"max_repeat": 0.0}, {"language_min": 0.0}])
def test_zero_is_a_value(settings):
    assert len(Pipeline(Settings(**settings), print).filters) == 1


def test_solve_rate_bounds():
    bounds = {text: Settings(solve_rate=text).bounds() for text in ("0.1:0.9", ":.5", ".5:", "0:0", ":")}
    assert list(bounds.values()) == [(0.1, 0.9), (0, 0.5), (0.5, 1), (0, 0), (0, 1)]
    for text in ("1", "", "nan:1", "0:nan", "0.5:0.1", "0:2", "-1:1", "a:", "0:1:2", "inf:inf"):
        with pytest.raises(InputError, match="LO:HI"):
            Settings(solve_rate=text)
