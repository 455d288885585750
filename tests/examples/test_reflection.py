"""The reflection experiment: its grader, its corpus, its verdict, its committed results, and the script end to end."""

import ast
import json
import random
import sys

from programs_on_path import EXAMPLES, program_folder, run_example

from r1cli.rewards import countdown

RESULTS = EXAMPLES / "results"
sys.path.insert(0, str(EXAMPLES))

from reflection.corpus import NO, WAIT, YES, Mix, document, search  # noqa: E402
from reflection.measure import QUESTION, observe, observe_document  # noqa: E402
from reflection.page import page  # noqa: E402
from reflection.plot import plot  # noqa: E402
from reflection.questions import LARGEST, draw, every_question, held_out, records, ways  # noqa: E402
from reflection.results import judge  # noqa: E402
from reflection.reward import score  # noqa: E402


def answered(answer, **changes):
    """A rollout about 7, 5, 3 and 36 that gives this answer."""
    row = {
        "completion": f"<think>x</think><answer>{answer}</answer>",
        "finish": "stop",
        "numbers": [7, 5, 3],
        "target": 36,
    }
    return row | changes


def test_the_reward_takes_each_number_exactly_once_and_nothing_else():
    """Attacks: reuse, omission, powers, division by zero, other digits, calls, several answers, a cut end."""
    for answer in ("(7+5)*3", "3*(5+7)", " ( 5 + 7 ) * 3 "):
        assert score(answered(answer)) == 1.0, answer
    assert score(answered("7/5*3", target=4)) == 0.0  # 4.2 is not 4: no rounding
    assert score(answered("8/(3-8/3)", numbers=[8, 3, 8, 3], target=24)) == 1.0  # exact fractions
    wrong = (
        *("7+5+3", "(7+5)*3+0", "7*5+7-3-3", "36", "(7+5)*3*1", "12*3", "75-3", "(7+5)*(3)*(3)/3", "", " "),
        *("7/(5-5)*3", "3/(7-7)", "7**5**3", "3**7**5", "9**9**9**9", "7//5+3", "7%5*3", "7^5^3", "-7+5*3", "+7+5*3"),
        *("(７+５)*３", "(٧+٥)*٣", "(7+5)×3", "(7+5)*3=36", "(7+5)*3;1", "(7+5)*3,", "(07+5)*3", "7_5*3", "(7.0+5)*3"),
        *("int(7+5)*3", "(7+5)(3)", "[7+5]*3", "(7+5)*3 if 1 else 2", "((((7+5)*3", "(7+5)*3)", "()", "7 5 3", "1e9"),
        "(" * 30 + "7+5" + ")" * 30 + "*3",
    )
    for answer in wrong:
        assert score(answered(answer)) == 0.0, answer
    right = "<answer>(7+5)*3</answer>"
    for completion in (right * 2, f"<answer>1</answer>{right}", f"<answer>{right}", "(7+5)*3", "<answer>(7+5)*3"):
        assert score(answered("", completion=completion)) == 0.0, completion
    assert score(answered("(7+5)*3", finish="length")) == 0.0
    assert score(answered("1/(7-7)*5", numbers=[1, 7, 7, 5])) == 0.0


def test_the_reward_agrees_with_the_graders_own_parser():
    """r1's countdown grader reads expressions by other means; both must say the same of right and wrong ones."""
    rng, right = random.Random(3), 0
    for _ in range(800):
        numbers, target = draw(rng, "train")
        expression = rng.choice(ways(tuple(sorted(numbers)))).expression
        if rng.random() < 0.3:
            expression = expression.replace("(", "").replace(")", "")
        verdict = countdown.grade(numbers, target, expression) == "exact"
        assert score(answered(expression, numbers=numbers, target=target)) == verdict, expression
        right += verdict
    assert 20 < right < 400


def test_the_ways_are_all_there_and_right():
    """Against brute force by Python's own arithmetic, on expressions written another way."""
    for numbers in ((2, 5, 9), (1, 2, 9), (3, 4, 6)):
        found = set()
        for a, b, c in ((x, y, z) for x in numbers for y in numbers for z in numbers if len({x, y, z}) == 3):
            for first in (a + b, a - b, a * b):
                if 0 <= first <= LARGEST:
                    found |= {first + c, first - c, c - first, first * c}
        listed = ways(numbers)
        assert {way.value for way in listed} == {value for value in found if 0 <= value <= LARGEST}
        assert len({way.expression for way in listed}) == len(listed)
        for way in listed:
            assert eval(compile(ast.parse(way.expression, mode="eval"), "way", "eval")) == way.value


def test_held_out_questions_are_in_neither_corpus_nor_training():
    test = {tuple(sorted(record["numbers"])) for record in records("test")}
    train = {tuple(sorted(record["numbers"])) for record in records("train")}
    assert test and not test & train
    assert all(map(held_out, test)) and not any(map(held_out, train))
    assert len(every_question("test")) >= 100  # what the script asks for
    rng, mix = random.Random(2), Mix()
    asked = [QUESTION.search(document(rng, mix)) for _ in range(4000)]
    shown = {tuple(sorted(map(int, found.groups()[:3]))) for found in asked if found}
    assert len(shown) > 60 and not shown & test
    assert records("train") == records("train")


def test_the_corpus_searches_as_it_says():
    """Without slips every Yes stands behind a right try and every No behind a wrong one; a search ends at a Yes."""
    rng, mix = random.Random(4), Mix(step_error=0.0, checked=0.8, persistence=0.9)
    returns = 0
    for _ in range(400):
        numbers, target = draw(rng, "train")
        text, answer = search(rng, numbers, target, mix)
        seen = observe(text, numbers, target)
        assert seen["yes_to_wrong"] == seen["repeated"] == 0
        assert seen["yes_to_right"] == seen["checked_right"]
        assert text.count(YES) == (NO not in text.split(WAIT)[-1] and YES in text)
        assert all(part.endswith(NO) for part in text.split(WAIT)[:-1])
        if YES in text:
            assert score(answered(answer, numbers=numbers, target=target)) == 1.0
        returns += seen["returns"]
    assert returns > 400
    assert observe("<answer>(7+5)*3</answer>", [7, 5, 3], 36)["thought"] == 0


def test_counts_of_a_worked_example():
    text = "<think>7*5=35, 35+3=38. No. Wait, 7*5=35, 35+3=38. No. Wait, 7+5=12, 12*3=37. Yes</think><answer>1</answer>"
    assert observe(text, [7, 5, 3], 37) == {
        "tries": 3,
        "checks": 3,
        "returns": 2,
        "surrenders": 0,
        "right_tries": 0,
        "right_first": 0,
        "repeated": 1,
        "checked_right": 0,
        "yes_to_right": 0,
        "yes_to_wrong": 1,
        "thought": 3 * 14 + 3 + 2,
    }
    assert observe("7+5=12, 12*3=36. The answer is (7+5)*3", [3, 5, 7], 36)["right_first"] == 1
    blind = observe("7+5=12, 12*3=36. No. Wait, 7+5=12, 12*3=36. Yes", [3, 5, 7], 36)
    assert (blind["checked_right"], blind["yes_to_right"], blind["yes_to_wrong"]) == (2, 1, 0)
    assert observe("7+5=12, 12*5=60</think>", [3, 5, 7], 60)["right_tries"] == 0  # 5 twice, 3 never
    assert observe_document("Q: Use 7, 5, 3. Make 36. A:(7+5)*3")["tries"] == 0
    assert observe_document("8+12=20, 12+5=17") is None


def measured(**changes):
    """One seed's results by which every rule holds, against a corpus of .5 returns a search."""
    names = ("tries", "checks", "returns", "thought", "right")
    return {
        "before": dict.fromkeys(names, 0.2),
        "after": dict.fromkeys((*names, "right_after_return"), 0.6),
        "changes": {name: [0.4, 0.3, 0.5] for name in names},
        "returns_after": [0.55, 0.65],
    } | changes


def test_the_verdict_follows_its_rules_in_every_seed():
    corpus, good = {"searches": {"returns": 0.5}}, measured()
    cases = {
        "holds": good,
        "planted": measured(returns_after=[0.45, 0.75]),
        "partly": measured(changes=good["changes"] | {"right": [0.1, -0.01, 0.2]}),
        "fails": measured(after=good["after"] | {"returns": 0.29}),
    }
    for verdict, odd in cases.items():
        assert judge(corpus, [good, odd, good])["verdict"] == verdict
    assert judge(corpus, [measured(after=good["after"] | {"right_after_return": 0.1})])["verdict"] == "partly"
    assert judge(corpus, [measured(after=good["after"] | {"thought": 0.25})])["verdict"] == "partly"


def test_the_committed_page_and_plot_are_made_of_the_committed_numbers():
    """Nothing in them is typed, and the verdict is the rules'. To repair: rerun examples/reflection.sh."""
    found = json.loads((RESULTS / "reflection.json").read_text())
    assert (RESULTS / "reflection.md").read_text() == page(found)
    assert (RESULTS / "reflection.svg").read_text() == plot(found)
    assert (RESULTS / "reflection.svg").stat().st_size < 60_000
    assert judge(found["corpus"], found["seeds"]) == found["outcome"]
    assert len(found["seeds"]) == 3


def test_the_script_runs_from_end_to_end(tmp_path):
    path = program_folder(tmp_path / "bin", python=f'exec "{sys.executable}" "$@"')
    done = run_example("reflection.sh", "--small", tmp_path / "out", path=path)
    results = tmp_path / "out" / "results"
    found = json.loads((results / "reflection.json").read_text())
    assert done.stdout == (results / "reflection.md").read_text() == page(found)
    assert (results / "reflection.svg").read_text() == plot(found)
    (one,) = found["seeds"]
    assert len(one["curves"]["returns"]) == 4
    rollouts = (tmp_path / "out" / "seed-0" / "rollouts.jsonl").read_text().splitlines()
    assert len(rollouts) == 4 * 8 * 16
    assert found["outcome"]["verdict"] == "fails"  # four updates of a base that has learnt nothing
    assert not list((tmp_path / "out").glob("seed-*/serve.json"))
