"""The format reward: 1 when the completion has the shape the template asks for, else 0 (DeepSeek-R1, section 2.2).

It looks at the tags only, never at what stands between them.
"""

from __future__ import annotations

from r1cli.rewards.extract import completion_of, was_prefilled
from r1cli.rewards.verdict import Options, Verdict

_GOOD = Verdict(1.0, "ok")


def score(record: dict, options: Options) -> Verdict:
    """1 or 0; a completion that was cut off by the token limit gets 0 with the reason "truncated"."""
    completion = completion_of(record)
    if record.get("finish") == "length":
        return Verdict(0.0, "truncated")
    if was_prefilled(record):
        completion = "<think>" + completion
    problem = find_problem(completion, options.format_shape)
    return Verdict(0.0, problem) if problem else _GOOD


def find_problem(text: str, shape: str) -> str:
    """What is wrong with a completion's shape, "" when nothing is.

    "zero": `<think>X</think> <answer>Y</answer>` and only white space around and between; "think": `<think>X</think>Y`.
    Each tag exactly once, X and Y not blank. Counting the tags is what keeps a second thought from passing as text.
    """
    tags = ("<think>", "</think>", "<answer>", "</answer>") if shape == "zero" else ("<think>", "</think>")
    for tag in tags:
        times = text.count(tag)
        if times != 1:
            return "repeated_tag" if times else "missing_tag"
    text = text.strip()
    if not text.startswith("<think>"):
        return "text_outside"
    thought, _, rest = text[7:].partition("</think>")
    if not _:
        return "wrong_order"
    if not thought.strip():
        return "empty_thought"
    if shape == "think":
        return "" if rest.strip() else "empty_answer"
    rest = rest.strip()
    if "<answer>" in thought or "</answer>" in thought:
        return "wrong_order"
    if not rest.startswith("<answer>") or not rest.endswith("</answer>"):
        return "text_outside"
    if len(rest) < 17:
        return "wrong_order"
    return "" if rest[8:-9].strip() else "empty_answer"
