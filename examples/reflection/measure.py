"""What a text shows of searching: tries, checks, returns, how long it thinks, and whether its tries were any good.

The same counts are taken of corpus documents and of rollouts, so that the one can be held against the other.
"""

import re

from r1cli.prompts.templates import R1_ZERO
from r1cli.tiny.corpus import PLAIN
from reflection.corpus import GIVE_UP, NO, WAIT, YES
from reflection.questions import OPERATIONS

TRY = re.compile(r"([0-9]+)([-+*])([0-9]+)=([0-9]+), ([0-9]+)([-+*])([0-9]+)=([0-9]+)")
TOKEN = re.compile(r"\. (?:Yes|No|I give up|Wait, )|, want |, |.", re.DOTALL)
VERDICT = re.compile(r"(?:, want [0-9]+)?(\. (?:Yes|No))")
END = re.compile(r"</think>|<answer>|\. The answer is ")
QUESTION = re.compile(r"Use ([0-9]+), ([0-9]+), ([0-9]+)\. Make ([0-9]+)\.")


def thought_of(completion: str) -> str:
    """What stands before the answer, whether its tags are in order or not; nothing where no try was made."""
    text = END.split(completion, maxsplit=1)[0].removeprefix("<think>")
    return text if TRY.search(text) else ""


def is_right(attempt: tuple[str, ...], numbers: list[int], target: int) -> bool:
    """Whether a try uses each number once, has its arithmetic right and makes the target."""
    first, second = attempt[1], attempt[5]
    a, b, middle, left, right, value = (int(attempt[place]) for place in (0, 2, 3, 4, 6, 7))
    others = [other for one, other in ((left, right), (right, left)) if one == middle]
    return (
        OPERATIONS[first](a, b) == middle
        and OPERATIONS[second](left, right) == value == target
        and any(sorted((a, b, other)) == sorted(numbers) for other in others)
    )


def observe(completion: str, numbers: list[int], target: int) -> dict[str, int]:
    """Counts of one answer.

    tries; checks (a Yes or No after one); returns (Wait after a No); surrenders; tokens of the thought; right tries,
    whether the first was right; tries made before in the same thought; checks of right and wrong tries that say Yes.
    """
    thought = thought_of(completion)
    found = list(TRY.finditer(thought))
    tries = [attempt.groups() for attempt in found]
    right = [is_right(attempt, numbers, target) for attempt in tries]
    verdicts = [VERDICT.match(thought, attempt.end()) for attempt in found]
    checked = [(one, verdict[1] == YES) for one, verdict in zip(right, verdicts, strict=True) if verdict]
    return {
        "tries": len(tries),
        "checks": thought.count(YES) + thought.count(NO),
        "returns": thought.count(WAIT),
        "surrenders": thought.count(GIVE_UP),
        "thought": len(TOKEN.findall(thought)),
        "right_tries": sum(right),
        "right_first": int(any(right[:1])),
        "repeated": len(tries) - len({(attempt[:3], attempt[4:7]) for attempt in tries}),
        "checked_right": sum(one for one, _ in checked),
        "yes_to_right": sum(one and said for one, said in checked),
        "yes_to_wrong": sum(said and not one for one, said in checked),
    }


def observe_document(text: str) -> dict[str, int] | None:
    """Counts of one corpus document; None for one that is no answer to a question."""
    asked = QUESTION.search(text)
    if not asked:
        return None
    *numbers, target = map(int, asked.groups())
    frame = R1_ZERO if text.startswith(R1_ZERO.split("{prompt}")[0]) else PLAIN
    return observe(text.removeprefix(frame.format(prompt=asked[0])), numbers, target)
