"""The reward of the searcher: 1 if its one answer uses each number exactly once and makes the target, else 0.

    r1 sample RUN | r1 reward --python examples/reflection/reward.py:score

The answer is model text: it is parsed, never evaluated, and computed in exact fractions.
"""

import ast
import operator
import re
from fractions import Fraction

SIGNS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def value(node: ast.expr) -> Fraction:
    """The value of integers under + - * /; KeyError for another operator, AttributeError for anything else."""
    if isinstance(node, ast.Constant):
        return Fraction(node.value)
    return SIGNS[type(node.op)](value(node.left), value(node.right))


def score(row: dict) -> float:
    """1 or 0; 0 also for several answers, and for a completion that was cut off before its end."""
    answers = re.findall(r"<answer>([0-9+*/() -]{1,40})</answer>", row["completion"])
    if len(answers) != 1 or row["completion"].count("<answer>") != 1 or row["finish"] != "stop":
        return 0.0
    if sorted(map(int, re.findall("[0-9]+", answers[0]))) != sorted(row["numbers"]):
        return 0.0
    try:
        return float(value(ast.parse(answers[0].strip(), mode="eval").body) == row["target"])
    except (SyntaxError, KeyError, AttributeError, ZeroDivisionError):
        return 0.0
