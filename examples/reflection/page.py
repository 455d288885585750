"""The page's part about reflection, as Markdown, made of reflection.json and nothing else."""

import textwrap
from collections.abc import Callable, Sequence

from reflection.results import RULES, VERDICTS

HABITS = {
    "tries": "tries per answer",
    "checks": "checks (Yes, No) per answer",
    "returns": "returns (Wait) per answer",
    "thought": "tokens of thought",
    "right": "pass@1",
}
PAPER = (
    "**The paper.** During R1-Zero's training the reflective words (wait, mistake, verify, check and others) become "
    'five to seven times as frequent; "wait" is all but absent at first and common after step 8,000, and thoughts grow '
    "longer with no reward for length (v2, appendix C.2 and figure 1). It calls this emergent."
)
TASK = (
    "**Here.** The task is a small Countdown: `Use 7, 5, 3. Make 36.` One pass through a tiny model cannot find the "
    "way, so a guess is right by luck; it helps to try (`7*5=35, 35+3=38`), to check (`, want 36. No`), to return "
    "(`. Wait, `) and to try again. Searches as text are the idea of Stream of Search (Gandhi et al. 2024, arXiv "
    "2404.03683); what a base must bring along for it is the question of the four habits (Gandhi et al. 2025, arXiv "
    "2503.01307)."
)
LEAST_GAIN = 1.5
PAYS = {
    True: "thinking pays from the start.",
    False: f"thinking does not pay from the start (to be so: {LEAST_GAIN} times as much); the verdict depends on it.",
}


def paragraph(*sentences: str, bullet: bool = False) -> str:
    """Sentences as lines of at most 118 characters, which no hyphen and no long word breaks."""
    return textwrap.fill(
        " ".join(sentences),
        118,
        initial_indent="- " if bullet else "",
        subsequent_indent="  " if bullet else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


def number(value: float) -> str:
    """Two or three significant digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percent(value: float) -> str:
    """A share as a percentage."""
    return f"{100 * value:.0f}%"


def side_by_side(values: Sequence[float], form: Callable[[float], str] = number) -> str:
    """The values of the seeds, in their order."""
    return " / ".join(map(form, values))


def ratio(over: dict, name: str, under: str) -> float:
    """One figure by another; 0 where that is 0."""
    return over[name] / over[under] if over[under] else 0.0


def table(found: dict) -> str:
    """A row for each habit: the corpus, before, after, and the differences with their intervals."""
    head = ["", "corpus, all answers", "its searches", "before", "after", "difference [95% interval] by seed"]
    lines = [head, ["---"] * len(head)]
    for name, title in HABITS.items():
        rates = [number(found["corpus"][part][name]) if name != "right" else "" for part in ("answers", "searches")]
        values = [side_by_side([one[when][name] for one in found["seeds"]]) for when in ("before", "after")]
        changes = ["{:+.2f} [{:+.2f}, {:+.2f}]".format(*one["changes"][name]) for one in found["seeds"]]
        lines.append([title, *rates, *values, "; ".join(changes)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def base(found: dict) -> str:
    """What the base was taught, and what a guess and a thought are worth to it."""
    settings, corpus, forced = found["settings"], found["corpus"], found["forced"]
    mix, searches = settings["mix"], corpus["searches"]
    return paragraph(
        f"**The base and its corpus.** {settings['parameters']:,} parameters, {settings['pretraining']:,} updates on",
        f"generated text. {percent(searches['documents'] / corpus['answers']['documents'])} of the documents that",
        "answer a question search, the others blurt out a guess. One proposer makes every try and every guess, and",
        f"never knows which way is right: {percent(searches['right_first'])} of its first tries are. Of the tries",
        f"{percent(1 - mix['checked'])} are answered with unchecked, and {percent(1 - mix['persistence'])} of those",
        "found wrong are the last (`. I give up`, and a guess). So every word that is counted below is in the corpus,",
        f"at the rates that the table gives; none of its {searches['documents']:,} searches that were counted has more",
        f"than {searches['most_returns']} returns. Forced to guess, the base is right in",
        f"{percent(forced['answer']['right'])} of its answers, forced to think in {percent(forced['think']['right'])}:",
        f"{PAYS[pays(found)]} {trust(forced['think'])} Temperature 1 throughout.",
    )


def pays(found: dict) -> bool:
    """Whether thinking is worth more than a guess to the base, before anything was learnt from rewards."""
    return found["forced"]["think"]["right"] >= LEAST_GAIN * found["forced"]["answer"]["right"]


def trust(shown: dict) -> str:
    """What a check says of right and of wrong tries."""
    wrong = shown["checks"] - shown["checked_right"]
    of_wrong = shown["yes_to_wrong"] / wrong if wrong else 0.0
    return (
        f"Its checks say Yes to {percent(ratio(shown, 'yes_to_right', 'checked_right'))} of the right tries and to "
        f"{percent(of_wrong)} of the wrong ones."
    )


def conditions(found: dict) -> str:
    """How it was measured."""
    settings, (questions, samples) = found["settings"], found["settings"]["test"]
    return paragraph(
        f"**Measured.** {settings['updates']} updates of {settings['batch'][0]} questions x {settings['batch'][1]}",
        "samples, rewarded for right answers alone: a reward for format would be one for searching, because in this",
        f"corpus only searches have think tags. Seeds {', '.join(str(one['seed']) for one in found['seeds'])} of",
        f"reinforcement learning side by side. Before and after: {questions} questions x {samples} samples, with sets",
        "of numbers that neither corpus nor training has shown.",
    )


def verdict(found: dict) -> str:
    """The verdict, and each rule with what became of it."""
    outcome = found["outcome"]
    held = {name: "yes" if outcome[name] else "no" for name in ("better", "used", "beyond")}
    held["grown"] = ", ".join(f"{name} {'yes' if holds else 'no'}" for name, holds in outcome["grown"].items())
    rules = [paragraph(f"**{name}: {held[name]}** ({text})", bullet=True) for name, text in RULES.items()]
    head = f"**Verdict: {VERDICTS[outcome['verdict']]}.** By rules written before the runs"
    return "\n".join((paragraph(head, "(`examples/reflection/results.py`):"), "", *rules))


def details(found: dict) -> str:
    """What else the rollouts show."""
    before, after = ([one[when] for one in found["seeds"]] for when in ("before", "after"))
    searches = found["corpus"]["searches"]
    dense = [side_by_side([100 * ratio(one, "returns", "thought") for one in shown]) for shown in (before, after)]
    late = side_by_side([ratio(one, "right_after_return", "right") for one in after], percent)
    single = [side_by_side([ratio(one, "right_tries", "tries") for one in shown], percent) for shown in (before, after)]
    return paragraph(
        f"After training, {late} of the right answers came after a return. Of the single tries {single[1]} are right,",
        f"{single[0]} before: what they gained is no reflection.",
        f"{side_by_side([ratio(one, 'repeated', 'tries') for one in after], percent)} of the tries were made before in",
        f"the same thought, {side_by_side([one['yes_to_wrong'] for one in after], percent)} of the answers say Yes to",
        f"a wrong try, and {side_by_side([one['surrenders'] for one in after], percent)} give up",
        f"({side_by_side([one['surrenders'] for one in before], percent)} before). Returns per 100 tokens of thought:",
        f"{dense[0]} before, {dense[1]} after, {number(100 * ratio(searches, 'returns', 'thought'))} in the corpus's",
        "searches.",
    )


def doubts(found: dict) -> str:
    """Why all this may be an artefact."""
    points = (
        "Tries, checks and returns are in the corpus, written by a program; the policy invents nothing. What can grow "
        "is how often it begins to search and how long it goes on, each the probability of a token or two.",
        "The corpus makes searching pay by construction: guess and try come from the same proposer, so that only "
        "checking and going on can help. With better guesses, or worse checks, something else would be learnt.",
        "Returns beyond the rate of the corpus's searches are more of the same step, and no new habit.",
        f"One base, one pretraining seed, {len(found['seeds'])} seeds of reinforcement learning: the intervals are "
        "over questions, not over bases.",
    )
    if not pays(found):
        points = (
            "To this base searching is worth hardly more than guessing, for its tries and checks are poor: this is "
            "what reinforcement learning does with such a base, not what it would do with one that can check.",
            *points,
        )
    lines = [paragraph(point, bullet=True) for point in points]
    return "\n".join(("**Why it may be an artefact.**", "", *lines))


def page(found: dict) -> str:
    """The whole part."""
    picture = "![Returns, checks, tokens of thought and pass@1 by update, and the corpus](results/reflection.svg)"
    legend = (
        "Each point is the mean of five updates' training batches; dashed lines are the corpus.",
        "`examples/reflection.sh` makes all this again.",
    )
    parts = (
        f"## 10. Pure RL makes reflection grow: {VERDICTS[found['outcome']['verdict']]}",
        paragraph(PAPER),
        paragraph(TASK),
        base(found),
        conditions(found),
        table(found),
        picture,
        paragraph(*legend),
        verdict(found),
        details(found),
        doubts(found),
    )
    return "\n\n".join(parts) + "\n"
