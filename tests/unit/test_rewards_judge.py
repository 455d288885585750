"""judge: how verdicts become one reward, and what it costs."""

import math

import pytest

from r1cli import rewards
from r1cli.errors import InputError
from r1cli.rewards import Options, Verdict, judge, open_grader
from r1cli.rewards.verdict import failed, not_applicable

THOUGHT = "Ann has 3 apples and Bob makes 12 more, wait, Ann gives 4 of them to Bob. Check: 12 and 4 makes 16. "
RECORD = {
    "prompt": "Ann has 3, Bob makes 12. How many?",
    "answer": "13",
    "completion": f"<think>{THOUGHT * 2}So 13.</think> <answer>13</answer>",
    "finish": "stop",
}


@pytest.fixture
def fixed(monkeypatch):
    """Rewards with known verdicts under the names a, b, none, broken and nan."""
    verdicts = {
        "a": Verdict(1.0, "ok"),
        "b": Verdict(0.5, "ok", extra={"time": 3}),
        "none": not_applicable("why"),
        "broken": failed("because"),
        "nan": Verdict(math.nan, "ok"),
    }
    table = {name: (lambda record, options, verdict=verdict: verdict) for name, verdict in verdicts.items()}
    monkeypatch.setattr(rewards, "function_of", lambda name: table[name])


@pytest.mark.parametrize(
    ("weights", "reward"),
    [
        ({"a": 1.0, "b": 1.0}, 1.5),
        ({"a": 2.0, "b": -1.0}, 1.5),
        ({"a": 1.0, "none": 1.0}, 1.0),
        ({"a": 1.0, "broken": 1.0}, None),
        ({"none": 1.0}, None),
        ({"a": 1.0, "nan": 1.0}, None),
        ({"a": 0.0, "broken": 0.0}, None),
    ],
)
def test_the_reward_is_the_weighted_sum_of_what_applies(fixed, weights, reward):
    """Not applicable leaves its term out; a failure, and a sum of nothing, is null: no number is made up."""
    assert judge({}, weights, Options())["reward"] == reward


def test_reward_info_says_what_happened(fixed):
    """Reason, weight, state where there is no number, and what the reward adds."""
    judged = judge({}, {"b": 2.0, "none": 1.0, "nan": 1.0}, Options())
    assert judged["rewards"] == {"b": 0.5, "none": None, "nan": None}
    assert judged["reward_info"] == {
        "b": {"reason": "ok", "weight": 2.0, "time": 3},
        "none": {"reason": "why", "weight": 1.0, "state": "not-applicable"},
        "nan": {"reason": "not_a_number", "weight": 1.0, "state": "failed"},
    }


def test_a_second_pass_adds_to_the_first(fixed):
    """`r1 reward --a | r1 reward --b` is `r1 reward --a --b`, and judging again replaces its own term only."""
    together = judge({}, {"a": 3.0, "b": 1.0, "none": 1.0}, Options())
    first = judge({}, {"a": 3.0, "none": 1.0}, Options())
    assert judge(first, {"b": 1.0}, Options())["reward"] == together["reward"]
    assert judge(together, {"a": 1.0}, Options())["reward"] == 1.5
    assert judge({"rewards": {"mine": 0.25}}, {"a": 1.0}, Options())["reward"] == 1.25
    assert judge({"rewards": {"mine": None}}, {"a": 1.0}, Options())["reward"] is None
    with pytest.raises(InputError, match="mine = nan"):
        judge({"rewards": {"mine": math.nan}}, {"a": 1.0}, Options())


def test_the_three_rewards_together():
    """The table holds the rewards under the names of the options."""
    judged = judge(RECORD, {"format": 0.5, "accuracy": 1.0, "language": 0.25}, Options())
    assert judged["rewards"] == {"format": 1.0, "accuracy": 1.0, "language": 1.0}
    assert judged["reward"] == 1.75
    assert judged["reward_info"]["accuracy"] == {"reason": "exact", "weight": 1.0, "answer": "13"}


@pytest.mark.parametrize("weights", [{}, {"accuracies": 1.0}, {"format": math.nan}, {"format": "1"}, {"format": True}])
def test_bad_weights_are_refused(weights):
    """A misspelled reward or a NaN weight would train on something else."""
    with pytest.raises(InputError):
        open_grader(weights, Options())
