"""From the saved rollouts to numbers, and from the numbers to the verdict by rules that were written before the runs.

A seed's before and after are held against each other question by question, on questions whose numbers neither the
corpus nor training has shown; the curves are of the training batches. Everything is sampled at temperature 1.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from r1cli.evaluation.intervals import paired_interval
from r1cli.records import whole_answer
from reflection.corpus import Mix, document
from reflection.measure import observe, observe_document
from reflection.reward import score

HABITS = ("tries", "checks", "returns", "thought")
CURVES = (*HABITS, "right", "right_first")
CORPUS_DOCUMENTS = 20_000
LEAST_RATIO = 1.5
LEAST_SHARE = 0.2
RULES = {
    "grown": "tries, checks, returns and tokens of thought: in every seed at least "
    f"{LEAST_RATIO} times what they were, and the paired 95% interval of the difference above 0",
    "better": "pass@1: in every seed the paired 95% interval of the difference above 0",
    "used": f"returns: in every seed at least {LEAST_SHARE:.0%} of the right answers came after one",
    "beyond": "returns: in every seed the 95% interval of their number per answer above that of the corpus's searches",
}
VERDICTS = {
    "holds": "holds, and goes beyond the corpus",
    "planted": "holds, but planted: no more returns than in the corpus's own searches",
    "partly": "holds in part",
    "fails": "does not hold",
}

Figures = dict[str, float]


def rows(path: Path) -> Iterator[dict]:
    """The records of a JSONL file."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def figures(row: dict) -> Figures:
    """What one rollout shows, and whether it is right: by the reward program, so that prefilled ones are judged too."""
    completion = whole_answer(row)
    shown: Figures = dict(observe(completion, row["numbers"], row["target"]))
    shown["right"] = score({**row, "completion": completion})
    shown["right_after_return"] = float(shown["right"] > 0 and shown["returns"] > 0)
    shown["cut_off"] = float(row["finish"] != "stop")
    return shown


def mean(values: Iterable[float]) -> float:
    """The mean; 0 of nothing."""
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def means(shown: Sequence[Figures]) -> Figures:
    """The mean of every figure."""
    return {name: round(mean(each[name] for each in shown), 4) for name in (shown[0] if shown else ())}


def by_question(path: Path) -> dict[str, Figures]:
    """The means of each question's samples."""
    groups = defaultdict(list)
    for row in rows(path):
        groups[row["id"]].append(figures(row))
    return {name: {key: mean(each[key] for each in members) for key in members[0]} for name, members in groups.items()}


def curves(path: Path) -> dict[str, list[float]]:
    """The means of each update's batch, in order."""
    batches = defaultdict(list)
    for row in rows(path):
        batches[row["policy"]["step"]].append(figures(row))
    return {name: [round(mean(each[name] for each in batches[step]), 3) for step in sorted(batches)] for name in CURVES}


def seed_results(folder: Path) -> dict:
    """All figures of one run of reinforcement learning, from its folder's before, rollouts and after."""
    before, after = by_question(folder / "before.jsonl"), by_question(folder / "after.jsonl")
    changes = {}
    for name in (*HABITS, "right"):
        differences = [after[each][name] - before[each][name] for each in before]
        changes[name] = [round(value, 4) for value in (mean(differences), *(paired_interval(differences) or (0, 0)))]
    returns = paired_interval([each["returns"] for each in after.values()]) or (0, 0)
    return {
        "seed": int(folder.name.removeprefix("seed-")),
        "before": means(list(before.values())),
        "after": means(list(after.values())),
        "changes": changes,
        "returns_after": [round(value, 4) for value in returns],
        "curves": curves(folder / "rollouts.jsonl"),
    }


def corpus_results(mix: Mix, documents: int) -> dict:
    """The same counts of fresh documents of the corpus: all that answer a question, and those that search."""
    rng = random.Random("reflection/corpus")
    shown = [found for _ in range(documents) if (found := observe_document(document(rng, mix))) is not None]
    searches = [each for each in shown if each["tries"]]
    returns = sorted(each["returns"] for each in searches)
    return {
        "answers": {"documents": len(shown), **means(shown)},
        "searches": {"documents": len(searches), **means(searches), "most_returns": returns[-1]},
    }


def judge(corpus: dict, seeds: list[dict]) -> dict:
    """Which rules hold, and the verdict that follows."""

    def everywhere(holds) -> bool:
        return all(map(holds, seeds))

    def grown(name: str) -> bool:
        return everywhere(
            lambda one: one["after"][name] >= LEAST_RATIO * one["before"][name] and one["changes"][name][1] > 0
        )

    habits = {name: grown(name) for name in HABITS}
    better = everywhere(lambda one: one["changes"]["right"][1] > 0)
    used = everywhere(lambda one: one["after"]["right_after_return"] >= LEAST_SHARE * one["after"]["right"] > 0)
    beyond = everywhere(lambda one: one["returns_after"][0] > corpus["searches"]["returns"])
    if not habits["returns"]:
        verdict = "fails"
    elif not (all(habits.values()) and better and used):
        verdict = "partly"
    else:
        verdict = "holds" if beyond else "planted"
    return {"grown": habits, "better": better, "used": used, "beyond": beyond, "verdict": verdict}


def collect(folder: Path) -> dict:
    """reflection.json: everything that the page shows, from what examples/reflection.sh has left in its folder."""
    mix = Mix()
    runs = sorted(folder.glob("seed-*"), key=lambda path: int(path.name.removeprefix("seed-")))
    corpus, seeds = corpus_results(mix, CORPUS_DOCUMENTS), [seed_results(run) for run in runs]
    base = json.loads((folder / "base" / "r1.json").read_text())
    first = next(rows(runs[0] / "after.jsonl"))
    questions = len(by_question(runs[0] / "after.jsonl"))
    return {
        "settings": {
            "mix": asdict(mix),
            "parameters": base["parameters"],
            "pretraining": base["recipe"]["steps"],
            "updates": len(seeds[0]["curves"]["right"]),
            "batch": [base["defaults"]["sample"][name] for name in ("questions", "group")],
            "max_tokens": first["sampling"]["max_tokens"],
            "test": [questions, first["group"]["size"]],
        },
        "corpus": corpus,
        "forced": {
            begin: means(list(by_question(folder / f"forced-{begin}.jsonl").values())) for begin in ("answer", "think")
        },
        "seeds": seeds,
        "rules": RULES,
        "outcome": judge(corpus, seeds),
    }
