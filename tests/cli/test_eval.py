"""r1 eval through the real program: hand-made numbers, an interrupted evaluation, and mixtures that are refused."""

import json

import pytest


def judged(name, *verdicts):
    """Judged samples of one question: a right one answers 1, a wrong one another number each."""
    return [
        {
            "id": name,
            "task": "math",
            "completion": f"<think>t</think><answer>{1 if right else 10 + place}</answer>",
            "rewards": {"accuracy": right},
        }
        for place, right in enumerate(verdicts)
    ]


def lines(records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_aggregates_judged_rollouts(r1):
    """pass@1, pass@k, cons@k and the error over questions, worked by hand."""
    records = [*judged("a", 1, 1, 0, 0), *judged("b", 0, 0, 0, 0), *judged("c", 1, 1, 1, 0)]
    (summary,) = map(json.loads, r1("eval", "-", stdin=lines(records), check=0).stdout.splitlines())
    assert (summary["task"], summary["items"], summary["samples"]) == ("math", 3, 12)
    assert summary["pass@1"] == pytest.approx((2 / 4 + 0 + 3 / 4) / 3)
    assert summary["pass@4"] == pytest.approx(2 / 3)
    # Question b has four answers with one vote each and none right; a and c have the right answer on top.
    assert summary["cons@4"] == pytest.approx(2 / 3)
    mean = 1.25 / 3
    spread = sum((value - mean) ** 2 for value in (0.5, 0, 0.75)) / 2
    assert summary["stderr"] == pytest.approx((spread / 3) ** 0.5)


def test_unjudged_rollouts_are_refused(r1):
    done = r1("eval", "-", stdin=b'{"id":"a","completion":"x"}\n')
    assert done.returncode == 2 and b"stdin:1" in done.stderr and b"r1 reward --accuracy" in done.stderr


def test_sampling_options_need_a_checkpoint(r1):
    """A flag that does nothing is an error."""
    done = r1("eval", "-", "--temperature", "1", stdin=lines(judged("a", 1)))
    assert done.returncode == 2 and b"need a checkpoint" in done.stderr


def test_an_interrupted_evaluation_goes_on(served, r1, tmp_path):
    """Judged samples are kept; half a group is sampled again; the result is that of an uninterrupted evaluation."""
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    ask = ("eval", served, "--questions", "4", "-k", "4", "--items")
    expected = json.loads(r1(*ask, whole, check=0).stdout)
    kept = whole.read_bytes().splitlines(keepends=True)
    assert len(kept) == 16
    # Two questions whole, one half, and a line that the crash tore.
    first = {}
    for line in kept:
        first.setdefault(json.loads(line)["id"], []).append(line)
    groups = list(first.values())
    cut.write_bytes(b"".join([*groups[0], *groups[1], *groups[2][:2]]) + groups[3][0][:50])
    assert json.loads(r1(*ask, cut, check=0).stdout) == expected
    # The last digits of log-probs depend on what is sampled side by side, the samples do not.
    samples = [
        sorted((record["id"], record["completion"]) for record in map(json.loads, path.read_bytes().splitlines()))
        for path in (cut, whole)
    ]
    assert samples[0] == samples[1]
    # All there: nothing is sampled, the numbers stand.
    assert json.loads(r1(*ask, whole, check=0).stdout) == expected


def test_samples_of_another_way_are_not_mixed_in(served, r1, tmp_path):
    """An items file of another temperature or another policy must not be continued."""
    items = tmp_path / "items.jsonl"
    r1("eval", served, "--questions", "2", "-k", "2", "--items", items, check=0)
    before = items.read_bytes()
    for changed in (["--temperature", "1"], ["--top-p", "0.5"]):
        done = r1("eval", served, "--questions", "3", "-k", "2", "--items", items, *changed)
        assert done.returncode == 2 and b"another --items file" in done.stderr
    done = r1("eval", "tiny", "--questions", "3", "-k", "2", "--items", items)
    assert done.returncode == 2 and b"policy.run" in done.stderr
    assert items.read_bytes() == before
