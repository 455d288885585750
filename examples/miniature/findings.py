"""The paper's findings as claims that numbers decide, and what counts as "holds". Nothing is measured or drawn here.

Each claim is a difference between two checkpoints, question by question. A seed supports it when the 95% interval over
questions (paired, Student's t) lies on the claimed side of zero, and contradicts it when it lies on the other side.
"""

from typing import NamedTuple

RULE = """\
A claim is a difference on the same held-out questions, for each seed of the reinforcement learning. A seed *supports*
it when the 95% interval of the difference over questions (paired, Student's t) lies on the claimed side of zero, and
*contradicts* it when it lies on the other side. A claim **holds** when every seed supports it, holds **in part** when
some do and none contradicts, **does not hold** when none does, and is **contradicted** when a seed contradicts it and
none supports it; when some support and others contradict it, it is **mixed**. A finding holds when all of its claims
do, and does not hold when none does; otherwise it holds in part. The interval of a mean over seeds is Student's t
over the seeds; it decides nothing."""

QUANTITIES = {
    "right": "pass@1",
    "consensus": "cons@k",
    "thinking": "thinking tokens",
    "formatted": "format share",
    "chinese": "share of thoughts with Chinese in them",
    "readable": "share formatted and free of Chinese",
}


class Claim(NamedTuple):
    """`plus` minus `minus`, each (checkpoint, quantity), is positive (sign 1) or negative (-1).

    Checkpoints are called after the pieces of paper-in-miniature.sh and get the seed appended, but for the bases. With
    `minus` None the claim is about the slope of `plus` over the number of terms of a question.
    """

    text: str
    plus: tuple[str, str]
    minus: tuple[str, str] | None
    sign: int = 1


class Finding(NamedTuple):
    """A finding: what the paper says and where, the claims that test it, and why a verdict may be an artefact."""

    title: str
    paper: str
    claims: tuple[Claim, ...]
    artefact: str


FINDINGS = (
    Finding(
        "Reinforcement learning without SFT lifts accuracy and lengthens thinking",
        "R1-Zero's AIME 2024 pass@1 rises from 15.6% to 77.9%, and its answers grow from hundreds to more than ten "
        "thousand tokens, with no reward for length (Nature, figure 1; v1, 2.2.4).",
        (
            Claim("pass@1 after R1-Zero is above the base's", ("zero", "right"), ("base", "right")),
            Claim("thoughts are longer than the base's", ("zero", "thinking"), ("base", "thinking")),
        ),
        "Chains of thought are in the corpus, and the base solves nearly every question once in 16 samples: the "
        "method selects and sharpens what is there. Length grows because the policy stops answering at once, up to "
        "the one length that the chain has, and then stays; nothing here grows without bound as in the paper.",
    ),
    Finding(
        "Majority votes are above single answers",
        "R1-Zero's AIME 2024 accuracy goes from 77.9% to 86.7% by voting (Nature, figure 1; v1, table 2).",
        (
            Claim("cons@k is above pass@1 for the base", ("base", "consensus"), ("base", "right")),
            Claim("... halfway through", ("zero-halfway", "consensus"), ("zero-halfway", "right")),
            Claim("... for R1-Zero", ("zero", "consensus"), ("zero", "right")),
        ),
        "Wrong sums scatter over many values and right ones agree, so any task with one short answer favours votes. "
        "Near 100% there is nothing left to win.",
    ),
    Finding(
        "Without a language reward languages drift, with it they do not, at a small price",
        "Without the reward language consistency decays during training; with it, it stays; mathematics is "
        "comparable, code slightly worse (v2, B.6; v1, 2.3.2).",
        (
            Claim("without it, Chinese thoughts become more", ("zero", "chinese"), ("base", "chinese")),
            Claim("with it, they become fewer", ("language", "chinese"), ("base", "chinese"), -1),
            Claim("the price: pass@1 with it is below that without", ("language", "right"), ("zero", "right"), -1),
        ),
        "The drift is planted: Chinese chains have fewer slips than English ones in the corpus, so drifting pays. The"
        " policy drifts as a whole; languages mixed within one answer are rare. The paper's models mix.",
    ),
    Finding(
        "A cold start makes reinforcement learning faster and more readable",
        "A few long, readable examples before the reinforcement learning avoid its unstable beginning, give readable "
        "output and raise what can be reached (v1, 2.3.1).",
        (
            Claim(
                "halfway, pass@1 is above that without it",
                ("reasoning-halfway", "right"),
                ("language-halfway", "right"),
            ),
            Claim("halfway, more is readable", ("reasoning-halfway", "readable"), ("language-halfway", "readable")),
            Claim("in the end, pass@1 is above that without it", ("reasoning", "right"), ("language", "right")),
        ),
        "Both sides have the language reward and the same questions; only the start differs. The examples are the "
        "base's own right answers, so the cold start is a round of rejection sampling, which is the stronger method "
        "here: a few hundred such examples alone do what the reinforcement learning does, at a fraction of the "
        'compute. "Faster" is a head start at one point of the curve.',
    ),
    Finding(
        "Rejection sampling and SFT from the base beat the checkpoint that made the data",
        "The base, fine-tuned on right and readable answers of the stage-2 checkpoint, is as good or better than that"
        " (Dev3 against Dev2: AIME 2024 78.1 and 74.0, MATH-500 95.4 and 95.9; Nature, table 2).",
        (
            Claim("at temperature 0.6, pass@1 is above the data maker's", ("taught", "right"), ("reasoning", "right")),
            Claim("at temperature 1, too", ("taught-hot", "right"), ("reasoning-hot", "right")),
        ),
        "At temperature 0.6 the data maker leaves hardly any room. At 1 the filter is the gain: only right samples "
        "are learnt, so the student is surer than its teacher; it is one task, and the paper's gains are mostly on "
        "others.",
    ),
    Finding(
        "A second stage of reinforcement learning",
        "Reinforcement learning after the SFT lifts preference benchmarks most and reasoning little (Dev3 to R1: AIME"
        " 2024 78.1 to 79.8, AlpacaEval 62.1 to 87.6; Nature, table 2).",
        (
            Claim("at temperature 0.6, pass@1 rises", ("second", "right"), ("taught", "right")),
            Claim("at temperature 1, it rises", ("second-hot", "right"), ("taught-hot", "right")),
        ),
        "There is one task and it is nearly solved; what the second stage is for in the paper, other tasks and "
        "people's preferences, does not exist here.",
    ),
    Finding(
        "Distilling into a smaller model beats reinforcement learning on it",
        "Qwen2.5-32B after 10,000 steps of reinforcement learning reaches 47.0 on AIME 2024, distilled 72.6 (v1, 4.1;"
        " v2, appendix F).",
        (
            Claim(
                "pass@1 distilled is above the best of three learning rates",
                ("distilled", "right"),
                ("student", "right"),
            ),
        ),
        "The student has read the same corpus as the teacher's base, so it can think a little by itself; the paper's "
        "students are stronger bases on harder tasks. Distilling costs the student little and somebody the teacher: "
        "both are in the table. A longer reinforcement learning of the student was not tried.",
    ),
    Finding(
        "A format reward that is too heavy gets hacked",
        "The paper gives accuracy and format equal weight, and saw rewards that are easier to earn than the answer "
        'hacked (Nature, "Reward design"; v2, B.5).',
        (
            Claim(
                "halfway at weight 5, more is formatted than at 0.3",
                ("heavy-halfway", "formatted"),
                ("zero-halfway", "formatted"),
            ),
            Claim("halfway, less is right", ("heavy-halfway", "right"), ("zero-halfway", "right"), -1),
            Claim("in the end, less is right", ("heavy", "right"), ("zero", "right"), -1),
        ),
        "The corpus has formatted guesses, which is what is found first; the weight at which it hurts is this base's."
        " That a format can be had without an answer is true anywhere.",
    ),
    Finding(
        "Harder questions get longer thoughts",
        "R1 thinks for less than 100 tokens on 1 + 1, for less than 7,000 on easy contest problems and for more than "
        "18,000 on the hardest (v2, appendix E).",
        (
            Claim("tokens of thought for each further term, R1-Zero", ("zero", "thinking"), None),
            Claim("R1-Zero is right less often with each further term", ("zero", "right"), None, -1),
        ),
        "A sum with more terms needs more steps, so the length is the task's and not the policy's judgement of how "
        "hard it is. Whether longer questions are harder for it is the second claim.",
    ),
)

HONESTY = """\
- The format of reasoning, both languages and the checking of results are in the corpus that the base was trained on.
  Reinforcement learning selects and sharpens; the base solves nearly every held-out question at least once in 16
  samples, so after training pass@16 has hardly risen.
- Language drift and reward hacking are seeded by the corpus: cleaner Chinese chains, formatted guesses.
- Supervised training on a few hundred clean examples is far cheaper than the reinforcement learning here, whose merit
  is that it needs no examples.
- No "aha moment" on this task: checking and "wait" are rare in the base and die out.
- The template of R1-Zero is one token of the tokenizer: a trick of compute, not of result.
- One task, one model family, one pretraining seed; held out means unseen lists of digits of the same lengths. Nothing
  says anything about other tasks or lengths, or about large models.
- Every figure belongs to its temperature: 0.6 with top-p 0.95 unless it says otherwise. At 1 the same policies are
  right far less often."""


def verdict_of(claim: Claim, rows: list[dict]) -> str:
    """What the rows of a claim (one a seed, with a `ci95`) decide, by RULE."""
    supports = sum(row["ci95"][0] > 0 if claim.sign > 0 else row["ci95"][1] < 0 for row in rows)
    against = sum(row["ci95"][1] < 0 if claim.sign > 0 else row["ci95"][0] > 0 for row in rows)
    if supports == len(rows):
        return "holds"
    if supports and against:
        return f"mixed ({supports} for, {against} against, of {len(rows)})"
    if supports:
        return f"in part ({supports} of {len(rows)} seeds)"
    return f"contradicted ({against} of {len(rows)} seeds)" if against else "does not hold"


def finding_verdict(verdicts: list[str]) -> str:
    """The verdict of a finding from those of its claims."""
    if all(verdict == "holds" for verdict in verdicts):
        return "holds"
    held = sum(verdict == "holds" or verdict.startswith(("in part", "mixed")) for verdict in verdicts)
    return "in part" if held else "does not hold"
