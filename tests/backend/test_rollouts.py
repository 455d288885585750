"""From a request to rollout lines: which questions are drawn, and what ids, seeds and batches they get."""

import json
import shutil
from itertools import chain
from pathlib import Path

import pytest
from conftest import run_r1
from residents import judge, records

from r1cli.backend import rollouts
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError
from r1cli.records import Prompt
from r1cli.runs import Run, locate

TINY = locate("tiny")[0]
TOKENIZER = Tokenizer.load(TINY)


@pytest.fixture
def opened(run) -> Run:
    """A run from the tiny base, as the library sees it."""
    return Run.open(run)


def plan(run: Run | None, request: dict | None = None, prompts=None, **changes):
    """The job of a request at the run's state with some of its fields changed."""
    state = run.state()._replace(**changes) if run else None
    prompts = prompts and [Prompt(record, where, json.dumps(record).encode()) for record, where in prompts]
    return rollouts.plan(
        request or {}, prompts, run=run, state=state or rollouts.State(), tokenizer=TOKENIZER, context=512, path="here"
    )


def questions(job) -> list[str]:
    return [json.loads(prefix + b"}")["prompt"] for prefix in job.prefixes]


def tail(job) -> dict:
    return json.loads(b"{" + job.suffixes[0][1:])


def seeds(job) -> list[list[int]]:
    return [group.seeds for group in job.groups]


def numbered(*names: str) -> list:
    return [({"id": name, "prompt": f"Add the digits: {at}"}, f"file:{at}") for at, name in enumerate(names, 1)]


def test_questions_follow_the_committed_cursor(opened):
    """A resumed run sees the questions that an uninterrupted one would, and none twice."""
    first, second = plan(opened), plan(opened, cursor=8)
    assert questions(plan(opened)) == questions(first)
    assert tail(first)["batch"]["cursor"] == 8 and tail(second)["batch"]["cursor"] == 16
    assert questions(plan(opened, {"questions": 16})) == questions(first) + questions(second)


def test_a_seed_of_ones_own_keeps_the_questions(opened):
    """--seed asks for other samples of the same questions, which belong to the run."""
    usual, other = plan(opened), plan(opened, {"seed": 5})
    assert questions(usual) == questions(other)
    assert not set(chain(*seeds(usual))) & set(chain(*seeds(other)))


def test_draw_gives_another_batch_at_the_same_step(opened):
    """--draw N asks for the questions after, and the cursor then moves past them."""
    job = plan(opened, {"draw": 2})
    assert questions(job) == questions(plan(opened, cursor=16))
    assert tail(job)["batch"] == {"id": tail(job)["batch"]["id"], "questions": 8, "cursor": 24}
    assert tail(job)["batch"]["id"] != tail(plan(opened))["batch"]["id"]


def test_held_out_questions_stay_the_same_and_move_no_cursor(opened):
    """The test split is the same at every step; training on what it gave does not skip training questions."""
    request = {"split": "test"}
    assert questions(plan(opened, request)) == questions(plan(opened, request, cursor=80, iteration=10))
    assert "cursor" not in tail(plan(opened, request))["batch"]
    assert not set(questions(plan(opened, request))) & set(questions(plan(opened)))


def test_samples_differ_by_iteration_draw_and_question(opened):
    """No random number is used twice in a run."""
    jobs = [plan(opened), plan(opened, {"draw": 1}), plan(opened, iteration=1), plan(opened, {"seed": 1})]
    keys = [key for job in jobs for group in seeds(job) for key in group]
    assert len(set(keys)) == len(keys) == 4 * 128


def test_a_larger_group_begins_with_the_smaller_one(opened):
    """--group changes how many samples there are, not which."""
    small, large = seeds(plan(opened, {"group": 4})), seeds(plan(opened, {"group": 9}))
    assert small == [group[:4] for group in large]


def test_a_batch_is_named_by_its_content(opened):
    """The same command gives the same batch, so that a retry is known; anything else gives another."""
    prompts = numbered("a", "b")
    here = tail(plan(opened, {}, prompts))["batch"]["id"]
    assert tail(plan(opened, {}, numbered("a", "b")))["batch"]["id"] == here
    others = [
        plan(opened, {}, numbered("b", "a")),
        plan(opened, {"group": 3}, prompts),
        plan(opened, {"temperature": 0.5}, prompts),
        plan(opened, {"draw": 1}, prompts),
        plan(opened, {"seed": 1}, prompts),
        plan(opened, {}, prompts, version="another"),
        plan(opened, {}, [({"id": "a", "prompt": "else"}, "f:1"), prompts[1]]),
    ]
    names = [tail(job)["batch"]["id"] for job in others]
    assert len({here, *names}) == 1 + len(names)
    groups = [name for job in others for name in job.group_ids]
    assert len(set(groups)) == len(groups) == 2 * len(others)


@pytest.mark.parametrize("names", [("a", "b", "a"), ("a", "a#2", "a", "a"), ("a", "a", "a#2")])
def test_a_question_twice_in_a_batch_has_samples_of_its_own(opened, names):
    """A batch that straddles two epochs of a file holds questions twice."""
    job = plan(opened, {}, numbered(*names))
    assert len(set(job.group_ids)) == len(names)
    keys = list(chain(*seeds(job)))
    assert len(set(keys)) == len(keys)


def test_a_file_wraps_over_epochs(tmp_path):
    """Every epoch has all questions, in an order of its own, and nothing is skipped where two meet."""
    file = tmp_path / "five.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"Add the digits: {n}"}) + "\n" for n in range(5)))
    run_r1("init", tmp_path / "run", "--from", "tiny", "--task", file, check=0)
    run = Run.open(tmp_path / "run")
    asked = [q for cursor in range(0, 60, 3) for q in questions(plan(run, {"questions": 3}, cursor=cursor))]
    epochs = [asked[at : at + 5] for at in range(0, 60, 5)]
    assert all(len(set(epoch)) == 5 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 6
    assert questions(plan(run, {"questions": 12})) == asked[:12]
    with pytest.raises(InputError, match="no test split"):
        plan(run, {"split": "test"})


def test_settings_come_from_the_command_then_the_run_then_the_paper(opened):
    """What is asked for wins over run.json, which wins over the paper's values."""
    assert rollouts.settings({}, None)["questions"] == 32
    assert rollouts.settings({}, opened)["questions"] == 8
    chosen = rollouts.settings({"questions": 5, "temperature": 0.0, "group": None}, opened)
    assert (chosen["questions"], chosen["temperature"], chosen["group"]) == (5, 0.0, 16)


@pytest.mark.parametrize(
    ("request_", "prompts", "words"),
    [
        ({}, [], "no prompts"),
        ({"group": 0}, None, "at least 1"),
        ({"max_tokens": 0}, None, "at least 1"),
        ({}, [({"id": "long", "prompt": "1 " * 600}, "file:7")], r"file:7: the prompt has \d+ tokens.*context is 512"),
    ],
    ids=["empty", "group", "max tokens", "too long"],
)
def test_what_cannot_be_sampled_is_refused(opened, request_, prompts, words):
    """One line that says what is wrong, before anything is computed."""
    with pytest.raises(InputError, match=words):
        plan(opened, request_, prompts)


def test_a_model_folder_has_no_questions_of_its_own():
    """Without a run there is no cursor: prompts have to be named."""
    with pytest.raises(InputError, match="name a JSONL file"):
        plan(None)


def test_lines_carry_the_prompt_untouched_and_all_keys(served):
    """A rollout is the prompt's record with the stream's keys behind it, in the order that the manual gives."""
    prompt = {"zeta": [1, {"b": None}], "id": "ä/1", "prompt": "Add the digits: 3 4", "answer": "7", "wörld": 1e-7}
    done = run_r1("sample", served, "-", "--group", "3", stdin=json.dumps(prompt).encode(), check=0)
    found = records(done.stdout)
    keys = [*prompt, "completion", "prompt_ids", "completion_ids", "logprobs", "finish", "group", "batch", "policy"]
    assert [list(record) for record in found] == [[*keys, "sampling"]] * 3
    assert all({key: record[key] for key in prompt} == prompt for record in found)
    assert [record["group"]["index"] for record in found] == [0, 1, 2]
    assert {record["group"]["size"] for record in found} == {3}
    assert all(record["batch"]["questions"] == 1 and "cursor" not in record["batch"] for record in found)


def test_samples_do_not_depend_on_order_or_group_size(served):
    """Sample i of a question is the same text in any batch that it is drawn with."""
    lines = [json.dumps({"id": f"q{n}", "prompt": f"Add the digits: {n} {n + 1} 2"}).encode() for n in range(6)]

    def completions(order, *options):
        done = run_r1("sample", served, "-", *options, stdin=b"\n".join(order), check=0)
        return {(r["id"], r["group"]["index"]): r["completion"] for r in records(done.stdout)}

    expected = completions(lines, "--group", "8")
    assert completions(lines[::-1], "--group", "8") == expected
    few = completions(lines[2:4], "--group", "3")
    assert few == {key: expected[key] for key in few} and len(few) == 6
    assert len(set(expected.values())) > 10


def test_a_resumed_run_asks_what_an_uninterrupted_one_would(run, tmp_path):
    """The cursor moves with the update, not with the sampling: what was never trained on is asked again."""
    run_r1("serve", run, "--detach", check=0)
    first = run_r1("sample", run, "--questions", "2", "--group", "4", check=0).stdout
    assert run_r1("sample", run, "--questions", "2", "--group", "4", check=0).stdout == first
    run_r1("grpo-step", stdin=judge(first), check=0)
    run_r1("serve", run, "--stop", check=0)
    opened = Run.open(run)
    assert opened.state().cursor == 2
    assert questions(plan(opened, {"questions": 2})) == questions(plan(opened, {"questions": 4}, cursor=0))[2:]
    moved = tmp_path / "moved"
    shutil.move(run, moved)
    assert Run.open(Path(moved)).state().cursor == 2
