"""The format reward: R1-Zero's and R1's shapes, told apart from everything that only looks like them."""

import re

import pytest

from r1cli.errors import InputError
from r1cli.rewards import Options
from r1cli.rewards.format import score

ZERO = [
    ("<think>a</think><answer>b</answer>", "ok"),
    (" \n<think>\na\n</think>\n\n<answer>\nb\n</answer>\n", "ok"),
    ("<think>a < b</think> <answer>\\boxed{1}</answer>", "ok"),
    ("<think>a</think> so <answer>b</answer>", "text_outside"),
    ("well <think>a</think><answer>b</answer>", "text_outside"),
    ("<think>a</think><answer>b</answer>\nmore", "text_outside"),
    ("<think>a</think><think>c</think><answer>b</answer>", "repeated_tag"),
    ("<think>a</think><answer>b</answer><answer>c</answer>", "repeated_tag"),
    ("<think>a<answer>b</answer></think>", "wrong_order"),
    ("<think>a</think><answer>b", "missing_tag"),
    ("<think>a</think></answer>b<answer>", "text_outside"),
    ("</think>a<think><answer>b</answer>", "text_outside"),
    ("<think> </think><answer>b</answer>", "empty_thought"),
    ("<think>a</think><answer> </answer>", "empty_answer"),
    ("<think>a<answer></think>b</answer>", "wrong_order"),
    ("", "missing_tag"),
]
FREE = r"((?:(?!</?think>|</?answer>).)*)"
PATTERN = re.compile(rf"\s*<think>{FREE}</think>\s*<answer>{FREE}</answer>\s*", re.DOTALL)


@pytest.mark.parametrize(("completion", "reason"), ZERO)
def test_the_shape_of_r1_zero(completion, reason):
    """1 exactly for one thought and one answer with nothing around them, else 0 with what is wrong."""
    verdict = score({"completion": completion}, Options())
    assert (verdict.value, verdict.reason) == (float(reason == "ok"), reason)
    match = PATTERN.fullmatch(completion)
    assert bool(match and match[1].strip() and match[2].strip()) == (reason == "ok")


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("<think>a</think>b", "ok"),
        ("<think>a</think>\n<answer>b</answer>", "ok"),
        ("<think>a</think> ", "empty_answer"),
        ("<think></think>b", "empty_thought"),
        ("a <think>b</think>c", "text_outside"),
        ("<think>a", "missing_tag"),
        ("</think>a<think>b", "text_outside"),
        ("<think>a</think>b</think>c", "repeated_tag"),
    ],
)
def test_the_shape_of_r1(completion, reason):
    """With the shape "think" only the thought is tagged."""
    assert score({"completion": completion}, Options(format_shape="think")).reason == reason


def test_a_prefilled_tag_counts_as_written():
    """A template that ends in <think> must neither cost the reward nor allow a second tag."""
    record = {"completion": "a</think><answer>b</answer>", "sampling": {"prefill": "<think>"}}
    assert score(record, Options()).value == 1.0
    assert score({**record, "sampling": {}}, Options()).value == 0.0
    assert score({**record, "completion": "<think>" + record["completion"]}, Options()).reason == "repeated_tag"


def test_a_truncated_completion_has_no_format():
    """Whatever it looks like, a completion that hit the limit did not end by itself."""
    assert score({"completion": ZERO[0][0], "finish": "length"}, Options()).reason == "truncated"


def test_an_unknown_shape_is_refused():
    """A misspelled option must not silently judge by another rule."""
    with pytest.raises(InputError, match="zero or think"):
        Options(format_shape="xml")
