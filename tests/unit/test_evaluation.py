"""Estimators against brute force, and summaries against numbers worked out by hand."""

import itertools
import math
import random
import statistics

import pytest

from r1cli.errors import InputError
from r1cli.evaluation import (
    Sample,
    clustered_error,
    cons_at_k,
    consensus,
    item_of,
    pass_at_k,
    read_sample,
    sampling_error,
    summarize,
)


def brute_consensus(votes):
    """The majority answer's score by trying every way to break a tie."""
    answers = ["right" if right else answer for answer, right in votes if right or answer is not None]
    counts = {answer: answers.count(answer) for answer in answers}
    top = [answer for answer in counts if counts[answer] == max(counts.values())]
    return sum(answer == "right" for answer in top) / len(top) if top else 0.0


@pytest.mark.parametrize("n", range(1, 9))
def test_pass_at_k_equals_brute_force(n):
    """The product form is the share of all k-subsets that hold a right sample."""
    for c in range(n + 1):
        for k in range(1, n + 1):
            subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


def test_pass_at_k_of_many_samples():
    """64 samples, 20 right, k 8: 0.960, where the naive 1 - (1 - p)^k says 0.950."""
    assert pass_at_k(64, 20, 8) == pytest.approx(1 - math.comb(44, 8) / math.comb(64, 8))
    assert round(pass_at_k(64, 20, 8), 3) == 0.960
    assert pass_at_k(100_000, 1, 50_000) == pytest.approx(0.5)


@pytest.mark.parametrize("k", [0, -1, 5])
def test_too_few_samples_are_an_error(k):
    """An estimate from fewer samples than k would be biased in silence."""
    with pytest.raises(InputError, match="needs at least"):
        pass_at_k(4, 2, k)
    with pytest.raises(InputError, match="needs at least"):
        cons_at_k([("a", True)] * 4, k)


def test_cons_at_k_equals_brute_force():
    """Clusters, ties and missing answers, over every subset of k votes."""
    draw = random.Random(0)
    for _ in range(200):
        votes = [draw.choice([("1", False), ("2", False), (None, False), ("5", True), ("5.0", True)]) for _ in range(6)]
        for k in range(1, 7):
            expected = statistics.fmean(map(brute_consensus, itertools.combinations(votes, k)))
            assert cons_at_k(votes, k) == pytest.approx(expected, abs=1e-12)


def test_a_tie_is_worth_its_expectation():
    """Two top answers of which one is right are worth a half, whatever their order."""
    assert consensus([("1", False), ("5", True)]) == consensus([("5", True), ("1", False)]) == 0.5
    assert consensus([(None, False), (None, False), ("5", True)]) == 1.0
    assert consensus([(None, False)]) == 0.0
    assert consensus([]) == 0.0


def test_large_subsampling_is_seeded_and_close():
    """With more subsets than are worth counting, a fixed seed gives the same number, near the true one."""
    votes = [("5", True)] * 12 + [("1", False)] * 8 + [(None, False)] * 4
    votes_of_nine = cons_at_k(votes, 9, seed="x")
    assert votes_of_nine == cons_at_k(votes, 9, seed="x")
    total = matched = 0.0
    for right in range(10):
        for wrong in range(10 - right):
            none = 9 - right - wrong
            weight = math.comb(12, right) * math.comb(8, wrong) * math.comb(4, none)
            total += weight
            matched += weight * brute_consensus([("5", True)] * right + [("1", False)] * wrong)
    assert votes_of_nine == pytest.approx(matched / total, abs=0.1)


def test_errors_are_clustered_by_item():
    """More samples of the same items must not shrink the part that comes from the items."""
    assert clustered_error([0.0, 1.0, 1.0, 0.0]) == pytest.approx(statistics.stdev([0, 1, 1, 0]) / 2)
    assert clustered_error([0.5]) is None
    assert sampling_error([[0.0, 1.0], [1.0, 1.0]]) == pytest.approx(math.sqrt(0.25) / 2)
    assert sampling_error([[1.0], [0.0]]) is None


def sample(value, answer="5", truncated=False, formatted=True, tokens=10, thinking_tokens=4):
    return Sample(value, answer, truncated, formatted, tokens, thinking_tokens, 8)


def test_pass_at_1_is_the_mean_of_item_means():
    """An item with more samples must not weigh more; failed verdicts are left out and counted."""
    items = {
        "a": [sample(1.0), sample(0.0, "4"), sample(0.0, None, formatted=False), sample(0.0, None, truncated=True)],
        "b": [sample(1.0), sample(None)],
        "c": [sample(None)],
    }
    summary = summarize(items, ks=[1], cons=[1])
    assert summary["pass@1"] == pytest.approx((0.25 + 1.0) / 2)
    assert (summary["items"], summary["samples"]) == (2, 7)
    assert summary["failed"] == pytest.approx(2 / 7)
    assert summary["no_answer"] == summary["truncated"] == pytest.approx(1 / 7)
    assert summary["format"] == pytest.approx(6 / 7)
    assert (summary["tokens"], summary["thinking_tokens"], summary["thinking_characters"]) == (10, 4, 8)
    assert "pass@2" not in summary
    with pytest.raises(InputError, match="pass@2"):
        summarize(items, ks=[2])
    with pytest.raises(InputError, match="no sample has a verdict"):
        summarize({"c": items["c"]})


def record(item, completion, right, **keys):
    judged = {"completion": completion, "rewards": {"accuracy": right}, "finish": "stop"}
    return {"id": item, "task": "sum"} | judged | keys


def summary_of(rows, think_end=None, **options):
    items = {}
    for row in rows:
        items.setdefault(item_of(row), []).append(read_sample(row, think_end=think_end))
    return summarize(items, **options)


def test_records_become_summaries():
    """Judged rollouts from a stream: grouped by question, equal answers one cluster."""
    good, half = "<think>abc</think><answer>1/2</answer>", "<think>abc</think>\\boxed{0.50}"
    rows = [
        record("a", good, 0.0, completion_ids=[7, 8, 9, 3, 1]),
        record("a", half, 0.0, completion_ids=[7, 3, 1]),
        record("a", "<think>abc</think><answer>3</answer>", 1.0, completion_ids=[7, 1]),
    ]
    first = summary_of(rows, ks=[1], cons=[1], think_end=3)
    assert list(first)[:2] == ["items", "samples"]
    assert (first["items"], first["samples"]) == (1, 3)
    assert first["thinking_tokens"] == pytest.approx((3 + 1 + 0) / 3)
    assert "tokens" not in summary_of([record("b", good, 1.0)])
    assert first["format"] == pytest.approx(2 / 3)
    assert summary_of(rows, cons=[3])["cons@3"] == 0.0


def test_a_truncated_sample_has_no_vote():
    """What was cut off is counted as truncated, not as an answer."""
    cut_off = record("a", "<think>a</think>\\boxed{5}", 0.0, finish="length", completion_ids=[1, 2])
    found = read_sample(cut_off, think_end=9)
    assert (found.answer, found.truncated, found.formatted, found.thinking_tokens) == (None, True, False, 2)


def test_unjudged_records_and_records_without_id_are_refused():
    """A summary of rollouts that nobody judged, or that belong to no question, would be a guess."""
    with pytest.raises(InputError, match="judge the rollouts first"):
        read_sample({"id": "a", "completion": "x"})
    with pytest.raises(InputError, match='"id" is missing'):
        item_of({"completion": "x", "rewards": {"accuracy": 1.0}})
