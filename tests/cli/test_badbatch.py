"""Batches that must not be trained on: one line that names place, field and remedy, exit 2, and the run as it was.

Most go through a resident backend, whose client forwards lines that it does not parse: the place in the message must
survive that.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
from batches import adopted, changed, drop, everywhere, iteration, put, refused, sample, standing
from conftest import run_r1

TINY = Path(__file__).parents[2] / "r1cli" / "tiny" / "checkpoint"


@pytest.fixture(scope="module")
def batches():
    """Judged batches by the state of the run that they were sampled from."""
    return {}


@pytest.fixture
def lines(served, batches):
    """A complete judged batch of the served run at its current step."""
    state = standing(served)
    if state not in batches:
        batches[state] = sample(served)
    return batches[state]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"id":"a","completion":"x', ["not JSON", "torn"]),
        (b"hello }", ["not JSON", "column 1"]),
        (b"[1, 2]", ["expected one JSON object per line", "list"]),
        (b"7", ["expected one JSON object per line", "int"]),
        (b'{"reward":NaN}', ["NaN", "write null"]),
        (b'{"reward":-Infinity}', ["NaN and Infinity", "write null"]),
        (b'{"r1_note":"x"}', ['"r1_"', "reserved"]),
        (b'{"a":1}', ['missing "completion_ids"', "found a"]),
    ],
)
@pytest.mark.parametrize("number", [1, 4])
def test_line_that_is_no_record(served, lines, line, words, number):
    """The first line is parsed by the client, a later one by the backend: both say the same."""
    before = standing(served)
    bad = b"".join([*lines[: number - 1], line + b"\n", *lines[number:]])
    refused(run_r1("grpo-step", "--run", served, stdin=bad), f"r1 grpo-step: stdin:{number}: ", *words)
    if number == 1:
        refused(run_r1("grpo-step", stdin=bad), "r1 grpo-step: stdin:1: ", *words)
    assert standing(served) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *((drop(key), [f'missing "{key}"']) for key in ("completion_ids", "prompt_ids", "logprobs", "finish")),
        *((drop(key), [f'missing "{key}"']) for key in ("group", "batch", "policy", "sampling")),
        (drop("reward"), ['missing "reward"', "r1 reward"]),
        *((drop("group", key), [f'group: missing "{key}"']) for key in ("id", "index", "size")),
        *((drop("batch", key), [f'batch: missing "{key}"']) for key in ("id", "questions")),
        *((drop("policy", key), [f'policy: missing "{key}"']) for key in ("path", "step", "iteration", "version")),
        (drop("sampling", "temperature"), ['sampling: missing "temperature"']),
        (put("completion_ids", value="x"), ['"completion_ids" must be a list, found "x"']),
        (put("completion_ids", value=[]), ["must not be empty"]),
        (put("prompt_ids", value=[]), ["must not be empty"]),
        (put("prompt_ids", value=[1.5]), ["lists of integers"]),
        (put("completion_ids", value=[True]), ["lists of integers"]),
        (put("logprobs", value=[0.0]), ['"logprobs" has 1 numbers for']),
        (put("finish", value="cut"), ['"finish" must be stop or length', "cut"]),
        (put("group", value=[]), ['"group" must be an object']),
        (put("group", "index", value=True), ['group: "index" must be an integer, found true']),
        (put("group", "index", value=3), ["group.index 3 is outside group.size 3"]),
        (put("group", "size", value=4), ["group.size is 4, an earlier line says 3"]),
        (put("batch", "questions", value=3), ["batch.questions is 3, an earlier line says 2"]),
        (put("batch", "cursor", value="8"), ['batch: "cursor" must be an integer, found "8"']),
        (put("policy", "run", value=None), ["plain model folder", "r1 init"]),
        (put("policy", "step", value="0"), ['policy: "step" must be an integer, found "0"']),
        (put("sampling", "temperature", value="hot"), ['sampling: "temperature" must be a number, found "hot"']),
        (put("sampling", "top_p", value="x"), ['sampling: "top_p" must be a number']),
        (put("sampling", "max_tokens", value="x"), ['sampling: "max_tokens" must be an integer']),
        (put("reward", value="1"), ['"reward" must be a finite number or null, found "1"']),
        (put("reward", value=True), ['"reward" must be a finite number or null, found true']),
        (put("rewards", value=[1]), ['"rewards" must be an object, found [1]']),
        (put("rewards", value={"x": "1"}), ['"rewards.x" must be a finite number or null, found "1"']),
    ],
)
def test_rollout_with_a_bad_field(served, lines, change, words):
    """Line 5 is named with its field; the backend lives on and stands where it stood."""
    before = standing(served)
    done = run_r1("grpo-step", stdin=b"".join(changed(lines, 5, change)))
    refused(done, "r1 grpo-step: stdin:5: ", *words)
    assert standing(served) == before


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda lines: [], ["no rollouts", "empty"]),
        (lambda lines: [b"\n", b"  \n"], ["no rollouts", "empty"]),
        (lambda lines: [*lines, lines[1]], ["stdin:7: duplicate sample 1 of group", "first seen at stdin:2"]),
        (lambda lines: lines[:2] + lines[3:], ["missing 1 rollouts of group", "--allow-partial"]),
        (lambda lines: lines[:3], ["missing 1 of 2 questions", "--allow-partial"]),
        (lambda lines: lines[:1], ["missing 1 of 2 questions and 2 rollouts of group", "--allow-partial"]),
        (lambda lines: changed(lines, 4, put("policy", "step", value=7)), ["stdin:4: ", "at step 7", "one policy"]),
        (lambda lines: everywhere(lines, put("policy", "run", value="another")), ["stdin:1: ", "another run", "--run"]),
        (lambda lines: everywhere(lines, put("policy", "path", value="/nowhere")), ["stdin:1: ", "/nowhere", "--run"]),
        (lambda lines: everywhere(lines, put("policy", "iteration", value=99)), ["iteration 99", "sample again"]),
        (lambda lines: everywhere(lines, put("policy", "version", value="x")), ["history", "left", "sample again"]),
        (lambda lines: everywhere(lines, put("sampling", "temperature", value=0)), ["greedily", "temperature 0"]),
        (lambda lines: changed(lines, 2, lambda r: put("prompt_ids", value=r["prompt_ids"][:-1])(r)), ["prompt_ids"]),
    ],
)
def test_batch_that_cannot_be_trained_on(served, lines, spoil, words):
    """Refused as a whole, before any update."""
    before = standing(served)
    refused(run_r1("grpo-step", stdin=b"".join(spoil(lines))), "r1 grpo-step: ", *words)
    assert standing(served) == before


@pytest.mark.parametrize("token", [-1, 135, 10**6])
def test_token_outside_the_vocabulary(served, lines, token):
    """A rollout of another tokenizer is refused and not looked up."""
    before = standing(served)
    bad = changed(lines, 2, lambda record: record["completion_ids"].__setitem__(0, token))
    refused(run_r1("grpo-step", stdin=b"".join(bad)), f"token {token} is outside the vocabulary of 135")
    assert standing(served) == before


def test_rollout_longer_than_the_context(served, lines):
    def longer(record):
        record["completion_ids"] *= 600
        record["logprobs"] *= 600

    before = standing(served)
    refused(run_r1("grpo-step", stdin=b"".join(changed(lines, 2, longer))), "context", "512")
    assert standing(served) == before


def test_wrong_run_named(served, lines, run):
    """--run names where to train, not what the rollouts are."""
    refused(run_r1("grpo-step", "--run", run, stdin=b"".join(lines)), "come from run", str(run))
    assert os.readlink(run / "latest") == "step-000000"


def test_retry_gives_the_same_metrics_and_trains_once(served, lines):
    """A retried pipe neither fails nor trains twice."""
    before = iteration(served)
    first = run_r1("grpo-step", stdin=b"".join(lines), check=0)
    after = standing(served)
    again = run_r1("grpo-step", stdin=b"".join(reversed(lines)), check=0)
    assert iteration(served) == before + 1
    assert standing(served) == after
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert b"applied already" in again.stderr and b"applied already" not in first.stderr


def test_tokens_changed_on_the_way(served, lines):
    """A stage that spoils ids trains another text than was sampled; only the gap of the log-probs can tell."""

    def reverse(record):
        record["completion_ids"] = record["completion_ids"][::-1]

    done = run_r1("grpo-step", stdin=b"".join(everywhere(lines, reverse)), check=0)
    assert b"r1 grpo-step: warning: sampler and trainer differ by " in done.stderr, done.stderr
    assert b"warning" not in run_r1("grpo-step", stdin=b"".join(sample(served)), check=0).stderr


def test_partial_batch_on_request(served, lines):
    before = standing(served)
    refused(run_r1("grpo-step", stdin=b"".join(lines[:5])), "missing 1 rollouts", "--allow-partial")
    assert standing(served) == before
    done = run_r1("grpo-step", "--allow-partial", stdin=b"".join(lines[:5]), check=0)
    assert json.loads(done.stdout)["step"] == len(before[1].splitlines()) + 1


def test_stale_batch_on_request(served, lines):
    """Rollouts one iteration old are refused, and accepted with the flag that the message names."""
    old = sample(served, "--draw", "1")
    run_r1("grpo-step", stdin=b"".join(lines), check=0)
    before, count = standing(served), iteration(served)
    refused(run_r1("grpo-step", stdin=b"".join(old)), "stale", "sample again", "--max-staleness 1")
    assert standing(served) == before
    run_r1("grpo-step", "--max-staleness", "1", stdin=b"".join(old), check=0)
    assert iteration(served) == count + 1


def test_batch_mixed_with_an_applied_one(served, lines):
    """A stream that repeats half of what was trained on names that half."""
    fresh = sample(served, "--draw", "1")
    run_r1("grpo-step", stdin=b"".join(lines), check=0)
    before = standing(served)
    done = run_r1("grpo-step", "--max-staleness", "1", stdin=b"".join(lines + fresh))
    refused(done, "was applied at step", "with other rollouts")
    assert standing(served) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--lr", "-1"], ["lr is -1.0", "0 or more"]),
        (["--lr", "nan"], ["lr is nan", "finite"]),
        (["--minibatches", "0"], ["minibatches is 0", "1 or more"]),
        (["--dual-clip", "0.5"], ["dual_clip is 0.5", "above 1"]),
        (["--loss", "ppo"], ["'--loss'", "'ppo'", "'gspo'"]),
        (["--kl-estimator", "k4"], ["'--kl-estimator'", "'k3'"]),
        (["--epochs", "two"], ["'--epochs'", "'two'"]),
        (["--correction", "token-mask", "--old-logprobs", "sampler"], ["correction", "old_logprobs"]),
        (["--max-staleness", "-1"], ["'--max-staleness'"]),
    ],
)
def test_setting_that_makes_no_sense(options, words):
    """Refused before standard input is read: here nothing ever comes."""
    read, write = os.pipe()
    with os.fdopen(read) as nothing_comes:
        done = run_r1("grpo-step", *options, stdin=nothing_comes, timeout=20)
    os.close(write)
    refused(done, "r1 grpo-step: ", *words)


def test_setting_that_does_nothing(served, lines):
    """What was asked for and can't matter, beside what run.json says, is refused and nothing is trained."""
    before = standing(served)
    done = run_r1("grpo-step", "--correction-max", "3", stdin=b"".join(lines))
    refused(done, "correction_max does nothing with correction 'none'")
    done = run_r1("grpo-step", "--normalize-constant", "96", stdin=b"".join(lines))
    refused(done, "normalize_constant does nothing with normalize '")
    assert standing(served) == before


def test_bad_default_in_the_run(run, lines):
    """run.json is edited by hand: a setting in it that nobody knows is named."""
    config = json.loads((run / "run.json").read_text())
    config["defaults"]["grpo"]["learning_rate"] = 1
    (run / "run.json").write_text(json.dumps(config))
    refused(run_r1("grpo-step", stdin=adopted(lines, run)), "unknown setting", "learning_rate")
    assert standing(run) == ("step-000000", b"")


def test_run_that_has_moved(run, lines, tmp_path):
    """The rollouts name the old place; --run names the new one."""
    judged = adopted(lines, run)
    moved = run.rename(tmp_path / "moved")
    refused(run_r1("grpo-step", stdin=judged), "stdin:1: ", f"{run} is not here", "--run")
    assert standing(moved) == ("step-000000", b"")
    done = run_r1("grpo-step", "--run", moved, stdin=judged, check=0)
    assert json.loads(done.stdout)["step"] == 1
    assert os.readlink(moved / "latest") == "step-000001"


def test_plain_folder_is_never_written_to(lines, tmp_path):
    folder = shutil.copytree(TINY, tmp_path / "model")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    refused(run_r1("grpo-step", "--run", folder, stdin=b"".join(lines)), str(folder), "r1 init")
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before
