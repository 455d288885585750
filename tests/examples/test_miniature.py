"""The paper in miniature: its page is what the generator makes of the published results; its script runs through."""

import json
import math
import sys
from pathlib import Path

import pytest
from programs_on_path import EXAMPLES, program_folder, run_example

sys.path.insert(0, str(EXAMPLES / "miniature"))
import collect
import findings
import page

RESULTS = EXAMPLES / "results" / "miniature.json"


def test_the_page_is_made_of_the_results(tmp_path):
    """Nothing on the page is typed: page and pictures are, to the byte, what page.py makes of the results."""
    for file in (RESULTS, *RESULTS.parent.glob("*.md")):
        (tmp_path / "results").mkdir(exist_ok=True)
        (tmp_path / "results" / file.name).write_bytes(file.read_bytes())
    page.write(tmp_path / "results" / RESULTS.name, tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text() == (EXAMPLES / "README.md").read_text(), (
        "run examples/miniature/page.py"
    )
    for picture in (tmp_path / "results").glob("*.svg"):
        assert picture.read_text() == (RESULTS.parent / picture.name).read_text()


def test_the_published_results_are_whole():
    """Three seeds, three learning rates for the student's own reinforcement learning, an interval for every claim."""
    results = json.loads(RESULTS.read_text())
    assert results["seeds"] == [0, 1, 2] and len(results["settings"]["RATES"].split()) == 3
    assert len(results["claims"]) == len(findings.FINDINGS) == 9
    for rows in (rows for claims in results["claims"] for rows in claims):
        assert all(row["ci95"][0] <= row["difference"] <= row["ci95"][1] for row in rows)
    distilled = [results["checkpoints"][f"distilled-{seed}"]["right"]["mean"] for seed in results["seeds"]]
    assert min(distilled) >= 0.7
    spent = sum(results["cpu_seconds"].values())
    assert spent < 25 * 60 * 2  # what 25 minutes of two cores hold


UP, DOWN, OPEN = {"ci95": [0.1, 0.3]}, {"ci95": [-0.3, -0.1]}, {"ci95": [-0.1, 0.1]}


@pytest.mark.parametrize(
    ("rows", "sign", "verdict"),
    [
        ([UP, UP], 1, "holds"),
        ([DOWN, DOWN], -1, "holds"),
        ([UP, OPEN], 1, "in part (1 of 2 seeds)"),
        ([OPEN, {"ci95": [0.0, 0.2]}], 1, "does not hold"),
        ([DOWN, OPEN], 1, "contradicted (1 of 2 seeds)"),
        ([UP, OPEN], -1, "contradicted (1 of 2 seeds)"),
        ([UP, DOWN, OPEN], -1, "mixed (1 for, 1 against, of 3)"),
    ],
)
def test_verdicts_follow_the_rule(rows, sign, verdict):
    """What the page's rule says, for each case of it; an interval that touches zero supports nothing."""
    claim = findings.Claim("", ("a", "right"), ("b", "right"), sign)
    assert findings.verdict_of(claim, rows) == verdict


def test_verdicts_of_findings():
    """All claims hold, none does, or something between."""
    assert findings.finding_verdict(["holds", "holds"]) == "holds"
    assert findings.finding_verdict(["holds", "does not hold"]) == "in part"
    assert findings.finding_verdict(["contradicted (1 of 3 seeds)", "in part (1 of 3 seeds)"]) == "in part"
    assert findings.finding_verdict(["contradicted (1 of 3 seeds)", "does not hold"]) == "does not hold"


def test_slope_by_hand():
    """(1, 1), (2, 2), (3, 3), (4, 6): slope 1.6, residuals squared 1.2, so its error is sqrt(1.2 / 2 / 5) = .3464."""
    found, (low, high) = collect.slope({"a": 1.0, "b": 2.0, "c": 3.0, "d": 6.0}, {"a": 1, "b": 2, "c": 3, "d": 4})
    assert found == pytest.approx(1.6)
    assert high - found == pytest.approx(4.3027 * math.sqrt(0.12), rel=1e-3) and found - low == pytest.approx(
        high - found
    )


def test_questions_are_compared_one_by_one():
    """Only questions that both sides have count, and the interval is that of their differences."""
    found = {
        "base": {"chinese": {"a": 0.5, "b": 0.0, "c": 0.25}},
        "zero-7": {"chinese": {"a": 1.0, "c": 0.5, "d": 1.0}},
    }
    claim = findings.Claim("", ("zero", "chinese"), ("base", "chinese"))
    row = collect.compare(claim, 7, found, {})
    assert (row["questions"], row["minus"], row["plus"], row["difference"]) == (2, 0.375, 0.75, 0.375)
    assert row["ci95"] == pytest.approx([0.375 - 12.706 * 0.125, 0.375 + 12.706 * 0.125], rel=1e-3)


def test_cpu_seconds_of_children(tmp_path):
    """The second line of bash's `times` is what children spent, user and system."""
    (tmp_path / "x").write_text("0m0.006s 0m0.100s\n1m7.063s 0m0.640s\n")
    assert collect.cpu_seconds(Path(tmp_path / "x")) == pytest.approx(67.703)


def test_a_small_pass_runs_through(tmp_path):
    """Every piece through the real program, then results and page in the run's folder; the published ones stay."""
    published = (EXAMPLES / "README.md").read_bytes()
    run_example("paper-in-miniature.sh", "--small", tmp_path / "m", path=program_folder(tmp_path / "bin"))
    results = json.loads((tmp_path / "m" / "results" / "miniature.json").read_text())
    assert results["seeds"] == [0] and results["best_rate"] == "4e-4"
    assert all(rows for claims in results["claims"] for rows in claims)
    assert set(results["curves"]) == {"zero", "language", "reasoning", "heavy"}
    assert [len(run["0"]["accuracy"]) for run in results["curves"].values()] == [2] * 4
    text = (tmp_path / "m" / "README.md").read_text()
    assert text.count("## ") >= 10 and "](results/accuracy.svg)" in text
    assert (tmp_path / "m" / "results" / "accuracy.svg").read_text().startswith("<svg")
    assert (EXAMPLES / "README.md").read_bytes() == published
