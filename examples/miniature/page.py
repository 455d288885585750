"""The page of the paper in miniature: `page.py RESULTS.json PAGE.md` writes it, and its pictures beside the results.

Every number and every verdict comes from the results; what is said about them comes from findings.py. Sections that
other scripts generated (*.md beside the results) follow at the end, as they are.
"""

import json
import sys
from pathlib import Path
from statistics import fmean, stdev

from collect import CURVES
from findings import FINDINGS, HONESTY, QUANTITIES, RULE, Claim, finding_verdict, verdict_of
from plot import Line, chart, smoothed

from r1cli.evaluation.intervals import t_quantile

PIECES = {
    "stages": "cold start, reasoning, rejection sampling, second stage",
    "language": "R1-Zero with the language reward (the student's teacher)",
    "zero": "R1-Zero",
    "heavy": "R1-Zero with format x 5",
}


def number(value: float, quantity: str) -> str:
    """A figure as the tables show it: shares with three decimals, tokens with one."""
    return f"{value:.1f}" if quantity == "thinking" else f"{value:.3f}"


def signed(value: float, quantity: str) -> str:
    """The same for a difference, with its sign."""
    return ("+" if value >= 0 else "-") + number(abs(value), quantity)


def spread(values: list[float], quantity: str) -> str:
    """The mean over seeds with its 95% t interval, where there are several."""
    mean = fmean(values)
    if len(values) < 2:
        return signed(mean, quantity)
    half = t_quantile(len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{signed(mean, quantity)} [{signed(mean - half, quantity)}, {signed(mean + half, quantity)}]"


def rows_of(claim: Claim, rows: list[dict]) -> list[str]:
    """The table rows of a claim: one a seed, their mean over several, and the verdict in the last."""
    quantity = claim.plus[1]
    lines = []
    for row in rows:
        sides = f"{number(row['minus'], claim.minus[1])} -> {number(row['plus'], quantity)}" if claim.minus else "slope"
        low, high = (signed(end, quantity) for end in row["ci95"])
        lines.append([row["seed"], sides, f"{signed(row['difference'], quantity)} [{low}, {high}]", ""])
    if len(rows) > 1:
        lines.append(["mean", "", spread([row["difference"] for row in rows], quantity), ""])
    lines[0] = [claim.text, *lines[0]]
    lines[1:] = [["", *line] for line in lines[1:]]
    lines[-1][-1] = f"**{verdict_of(claim, rows)}**"
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def measured(claims: list[list[dict]], finding_claims: tuple[Claim, ...]) -> str:
    """What was measured, in a few words for the table at the top: the first claim's means over the seeds."""
    claim, rows = finding_claims[0], claims[0]
    quantity = claim.plus[1]
    if claim.minus is None:
        return f"{signed(fmean(row['difference'] for row in rows), quantity)} {QUANTITIES[quantity]} a term"
    minus, plus = (fmean(row[side] for row in rows) for side in ("minus", "plus"))
    return f"{QUANTITIES[quantity]} {number(minus, quantity)} -> {number(plus, quantity)}"


def section(index: int, claims: list[list[dict]]) -> list[str]:
    """One finding: what the paper says, the table of its claims, the verdict, and what may be wrong with it."""
    finding = FINDINGS[index]
    verdict = finding_verdict([verdict_of(*pair) for pair in zip(finding.claims, claims, strict=True)])
    table = [line for pair in zip(finding.claims, claims, strict=True) for line in rows_of(*pair)]
    return [
        f"## {index + 1}. {finding.title}: {verdict}",
        "",
        f"**The paper.** {finding.paper}",
        "",
        "| claim | seed | from -> to | difference [95%] | verdict |",
        "|---|---|---|---|---|",
        *table,
        "",
        f"**Why it may be an artefact.** {finding.artefact}",
        "",
    ]


def student_costs(results: dict) -> list[str]:
    """The table of what distillation and the student's own reinforcement learning cost and reached."""
    seeds, trained, checkpoints = results["seeds"], results["training_cpu_seconds"], results["checkpoints"]

    def line(label: str, piece: str, cost: str) -> str:
        reached = ", ".join(number(checkpoints[f"{piece}-{seed}"]["right"]["mean"], "right") for seed in seeds)
        spent = fmean(trained[f"{piece}-{seed}"] for seed in seeds)
        return f"| {label} | {reached} | {spent:.0f} s{cost} |"

    teacher = fmean(results["cpu_seconds"][f"language-{seed}"] for seed in seeds)
    base = number(checkpoints["student-base"]["right"]["mean"], "right")
    return [
        f"The student's base is at {base}. Pass@1 by seed, and the CPU seconds of one training, sampling included:",
        "",
        "| student | pass@1 | CPU |",
        "|---|---|---|",
        line("distilled", "distilled", f", and the teacher's own training: {teacher:.0f} s"),
        *(
            line(f"reinforcement learning, {results['settings']['ALONE']} updates at {rate}", f"student{rate}", "")
            for rate in results["settings"]["RATES"].split()
        ),
        "",
        f"The best rate, {results['best_rate']}, is the one that is compared above.",
        "",
    ]


def pictures(results: dict) -> dict[str, str]:
    """The page's pictures by file name."""

    def lines(arm: str, key: str) -> list[Line]:
        runs = [smoothed(run[key]) for run in results["curves"][arm].values()]
        mean = [fmean(values) for values in zip(*runs, strict=True)]
        return [list(enumerate(run, 1)) for run in ([mean, *runs] if len(runs) > 1 else runs)]

    lengths = {
        name: [[(int(terms), value) for terms, value in results["length_by_terms"][key].items()]]
        for key, name in (("base", "base"), ("zero", "R1-Zero"))
    }
    accuracy = {name: lines(arm, "accuracy") for arm, name in CURVES.items()}
    language = {CURVES[arm]: lines(arm, "language") for arm in ("zero", "language")}
    return {
        "accuracy.svg": chart("right answers in training (temperature 1)", "update", accuracy, top=1.0),
        "language.svg": chart("share of English in the thoughts (temperature 1)", "update", language, top=1.0),
        "length.svg": chart("tokens of thought", "terms of the sum", lengths),
    }


def page(results: dict, folder: str, fragments: list[str]) -> str:
    """The page in Markdown; `folder` is where the pictures are, seen from it."""
    settings, claims = results["settings"], results["claims"]
    verdicts = [
        finding_verdict([verdict_of(*pair) for pair in zip(finding.claims, rows, strict=True)])
        for finding, rows in zip(FINDINGS, claims, strict=True)
    ]
    spent = sum(results["cpu_seconds"].values()) / 60

    def spent_on(piece: str) -> list[str]:
        return [str(round(results["cpu_seconds"][f"{piece}-{seed}"])) for seed in results["seeds"]]

    summary = [
        f"| {index + 1} | {finding.title} | {measured(claims[index], finding.claims)} | {verdicts[index]} |"
        for index, finding in enumerate(FINDINGS)
    ]
    after = {
        0: ["![Right answers by update](FOLDER/accuracy.svg)", ""],
        2: ["![Share of English by update](FOLDER/language.svg)", ""],
        6: student_costs(results),
        8: ["![Thinking tokens by terms](FOLDER/length.svg)", ""],
    }
    sections = [line for i in range(len(FINDINGS)) for line in (*section(i, claims[i]), *after.get(i, []))]
    text = [
        "<!-- Made by examples/miniature/page.py from examples/results/: not to be edited. -->",
        "# The paper in miniature",
        "",
        "What DeepSeek-R1's paper found, tried on a model of 0.29M parameters that adds one-digit numbers, by "
        "[paper-in-miniature.sh](paper-in-miniature.sh). The model learns in seconds, so each finding is tried with "
        f"seeds {', '.join(map(str, results['seeds']))}; it is no evidence about large models.",
        "",
        "| | finding | measured (mean over seeds) | verdict |",
        "|---|---|---|---|",
        *summary,
        "",
        "## Before you believe it",
        "",
        HONESTY,
        "",
        RULE,
        "",
        f"{settings['HELD']} held-out questions x {settings['K']} samples, temperature 0.6 and top-p 0.95 unless it "
        f"says 1; {settings['UPDATES']} updates of 8 questions x 16 samples, {settings['HALFWAY']} of them at "
        f'"halfway"; {settings["COLD"]} examples of a cold start; {settings["TAUGHT"]} questions x 4 samples for '
        f"rejection sampling and for distillation. All of it took {spent:.0f} CPU-minutes (torch {results['torch']}, "
        "one thread):",
        "",
        "| what, each seed | CPU seconds |",
        "|---|---|",
        *(f"| {label} | {', '.join(spent_on(piece))} |" for piece, label in PIECES.items()),
        "",
        *sections,
        *fragments,
    ]
    return "\n".join(text).replace("FOLDER", folder).rstrip() + "\n"


def write(results_file: Path, page_file: Path) -> None:
    """Writes the pictures beside the results, and the page."""
    results = json.loads(results_file.read_text())
    folder = results_file.parent
    for name, content in pictures(results).items():
        (folder / name).write_text(content)
    fragments = [file.read_text() for file in sorted(folder.glob("*.md"))]
    page_file.write_text(page(results, folder.relative_to(page_file.parent).as_posix(), fragments))


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))
