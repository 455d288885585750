"""Where a completion states its answer: behind the thinking, in one box or one pair of answer tags.

It decides which text is graded, not whether it is right. Every scan is linear in the completion's length.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from r1cli.errors import InputError
from r1cli.rewards.maths.keys import answer_key

MAX_BOX = 4000
MAX_BOXES = 256
MAX_ROW = 24

# Patterns stay text until they are needed (re keeps what it has compiled). Each begins with a fixed word or stops at
# the next brace, so that no scan starts over.
_BOX = r"\\(?:boxed|fbox)\s*\{"
_BRACE = rf"(?s:{_BOX}|\\.|[{{}}])"
_ANCHOR = r"(?i:answer\s{0,4}(?:\*\*)?\s{0,4}(?:is\b|:)\s{0,4}:?|####)"
_BETWEEN_BOXES = (
    r"[\s$]*(?:\\[)\]])?[\s$]*(?:,\s*(?:\\?[;,!]|\\quad)?\s*(?:(?:\\text\s*\{)?\s*and\s*\}?)?|(?:\\q?quad\s*)?(?:\\text\s*\{)?\s*and\s*\}?"
    r"(?:\s*\\q?quad)?)[\s$]*(?:\\[(\[])?[\s$]*\\(?:boxed|fbox)\s*\{"
)
_TURN = r"(?m:^[ \t*#]{0,8}(?:User|Human)[ \t*]{0,4}:)"
_CHAT_MARKS = ("<|im_start|>", "<|start_header_id|>", "<｜User｜>", "<|User|>", "<|user|>")
_PLACEHOLDER = (
    r"(?i:(?:\.{2,}|…|\?+|_+|\\[lc]?dots|\\(?:square|Box|cdot|_)"
    r"|(?:\\text ?\{)? ?(?:(?:the|your|my|final) ){0,2}answer(?: here)? ?\}?)?)"
)


class Parts(NamedTuple):
    """A completion cut at its think tags: `thinking` (None without a tag), `rest` (None while the thought is open)."""

    thinking: str | None
    rest: str | None
    malformed: bool


class Found(NamedTuple):
    """The answer's raw text, or None and the reason: no_answer, malformed, hedged or too_complex."""

    answer: str | None
    reason: str = ""


def completion_of(record: dict) -> str:
    """The record's completion; raises InputError when it has none."""
    completion = record.get("completion")
    if not isinstance(completion, str):
        found = "is missing" if completion is None else f"is {type(completion).__name__}, not text"
        raise InputError(f'"completion" {found}: rewards read rollouts, as `r1 sample` writes them')
    return completion


def was_prefilled(record: dict) -> bool:
    """Whether the prompt has opened a thought, so that the completion begins inside it."""
    sampling = record.get("sampling")
    prefill = sampling.get("prefill") if isinstance(sampling, dict) else None
    if prefill is None:
        prefill = record.get("prefill")
    if isinstance(prefill, str):
        return prefill.rfind("<think>") > prefill.rfind("</think>")
    prompt = record.get("prompt")
    if not isinstance(prompt, str) or not prompt.rstrip().endswith("<think>"):
        return False
    # A question may also end by asking for the tag.
    return not completion_of(record).lstrip().startswith("<think>")


def split_thinking(completion: str, prefilled: bool = False) -> Parts:
    """Cut a completion at its only `</think>`; two thoughts, or tags in the wrong order, are malformed.

    All of a malformed completion counts as its thinking, so that no text escapes the rewards that look at it.
    """
    # A thought is one however its tags are written.
    completion = re.sub(r"(?ia:</?think>)", lambda m: m[0].lower(), completion) if "<" in completion else completion
    opens = completion.count("<think>") + prefilled
    closes = completion.count("</think>")
    if not opens and not closes:
        return Parts(None, completion, False)
    begin = completion.find("<think>") + 7 if opens and not prefilled else 0
    end = completion.find("</think>")
    if opens > 1 or closes > 1 or (closes and end < begin):
        return Parts(completion, None, True)
    if not closes:
        return Parts(completion[begin:], None, False)
    return Parts(completion[begin:end], completion[end + 8 :], False)


def starts_new_turn(completion: str, parts: Parts) -> bool:
    """Whether the model went on to play the user, outside its thinking."""
    before = re.split(r"(?ia:<think>)", completion, maxsplit=1)[0] if "<" in completion else ""
    before = before if before != completion else ""
    for text in (before, parts.rest or ""):
        if ("User" in text or "Human" in text) and (re.search(_TURN, text) or _inline_turn(text)):
            return True
        if "<" in text and any(mark in text for mark in _CHAT_MARKS):
            return True
    return False


def _inline_turn(text: str) -> bool:
    # The R1-Zero template writes both turns on one line, "User: ... Assistant:".
    user = text.find("User: ")
    return user >= 0 and text.find("Assistant:", user) >= 0


def answer_part(completion: str, *, prefilled: bool = False) -> tuple[str, str]:
    """The text behind the thinking, and a problem: "", "malformed", or "no_answer" while the thought is open."""
    parts = split_thinking(completion, prefilled)
    if parts.malformed or starts_new_turn(completion, parts):
        return "", "malformed"
    return (parts.rest, "") if parts.rest is not None else ("", "no_answer")


def tagged_answer(text: str) -> tuple[str | None, str]:
    """What the only pair of answer tags holds, None without tags, and a problem: "" or "malformed"."""
    opens, closes = text.count("<answer>"), text.count("</answer>")
    if not opens and not closes:
        return None, ""
    begin, end = text.find("<answer>") + 8, text.find("</answer>")
    if opens != 1 or closes != 1 or end < begin:
        return None, "malformed"
    return text[begin:end], ""


def find_answer(completion: str, *, prefilled: bool = False, lenient: bool = False) -> Found:
    """The final answer of a completion (DeepSeek-R1, section 2.2: in a box or in the answer tags).

    Text inside the thinking never counts. There must be at most one pair of answer tags, and all boxes must agree, or
    stand side by side as a list (`\\boxed{1} and \\boxed{2}`). Only with `lenient` are `answer is X`, `Answer: X` and
    `#### X` read, and only where there is no box and no tag.
    """
    text, problem = answer_part(completion, prefilled=prefilled)
    if problem:
        return Found(None, problem)
    tagged, problem = tagged_answer(text)
    if problem:
        return Found(None, problem)
    boxes, problem = find_boxes(text)
    if problem:
        return Found(None, problem)
    candidates = [box for box in boxes if not is_placeholder(box)]
    if tagged is not None and not ("\\" in tagged and re.search(_BOX, tagged)) and not is_placeholder(tagged):
        candidates.append((lenient and last_anchored(tagged)) or tagged)
    if not candidates:
        anchored = last_anchored(text) if lenient and tagged is None and not boxes else None
        return Found(anchored) if anchored else Found(None, "no_answer")
    distinct = {candidate.strip() for candidate in candidates}
    if len(distinct) > 1 and len({answer_key(candidate) for candidate in distinct}) > 1:
        row = _row_of_boxes(text, boxes)
        return Found(row) if row is not None and len(candidates) == len(boxes) else Found(None, "hedged")
    return Found(candidates[-1].strip())


def _row_of_boxes(text: str, boxes: list[str]) -> str | None:
    """All boxes as one list, when nothing but commas and "and" stand between them; None otherwise."""
    if len(boxes) > MAX_ROW:
        return None
    at = -1
    for place, box in enumerate(boxes):
        begin = text.find(box + "}", at + 1)
        if place and not re.fullmatch(_BETWEEN_BOXES, text[at:begin]):
            return None
        at = begin + len(box) + 1
    return ", ".join(boxes)


def find_boxes(text: str) -> tuple[list[str], str]:
    """Contents of the outermost `\\boxed{}` and `\\fbox{}`, and a problem: "", "malformed" (cut off), "too_complex"."""
    boxes: list[str] = []
    if "\\" not in text:
        return boxes, ""
    box, brace = re.compile(_BOX), re.compile(_BRACE)
    at = 0
    while match := box.search(text, at):
        if len(boxes) == MAX_BOXES:
            return [], "too_complex"
        begin = match.end()
        end = _closing_brace(text, begin, brace)
        if end < 0:
            return [], "too_complex" if len(text) - begin > MAX_BOX else "malformed"
        boxes.append(text[begin:end])
        at = end + 1
    return boxes, ""


def _closing_brace(text: str, begin: int, brace: re.Pattern) -> int:
    depth = 1
    for match in brace.finditer(text, begin, min(len(text), begin + MAX_BOX)):
        last = match[0][-1]
        if match[0] == "}":
            depth -= 1
            if not depth:
                return match.start()
        elif last == "{" and match[0] != "\\{":
            depth += 1
    return -1


def is_placeholder(text: str) -> bool:
    """Whether a box or tag holds what a prompt would put there (nothing, dots, "your answer"), not an answer."""
    text = text.strip(" \t\r\n$")
    return len(text) < 40 and re.fullmatch(_PLACEHOLDER, text) is not None


def last_anchored(text: str, *, whole: bool = False) -> str | None:
    """What the last `answer is X`, `Answer: X` or `#### X` says, up to the end of its sentence; None without one.

    whole: up to the end of the line.
    """
    end = -1
    for match in re.finditer(_ANCHOR, text):
        end = match.end()
    if end < 0:
        return None
    line = text[end : end + 1200].lstrip(" \t\r\n*:").partition("\n")[0]
    sentence = (line if whole else re.split(r"\. |。", line, maxsplit=1)[0]).strip(" \t\r*")
    return None if is_placeholder(sentence) else sentence
