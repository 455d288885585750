"""Making runs, taking models out of them, going back, and prompts: the commands around the loop."""

import json
import os
import uuid
from pathlib import Path

import pytest
from conftest import run_r1

import r1cli

TINY = Path(r1cli.__file__).parent / "tiny" / "checkpoint"


def tree(folder):
    """Everything below a folder, with contents."""
    return {
        path.relative_to(folder).as_posix(): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_version():
    done = run_r1("--version", check=0)
    assert (done.stdout.decode(), done.stderr) == (f"r1 {r1cli.__version__}\n", b"")


def test_a_run_takes_no_base_s_name(tmp_path):
    """A folder of that name would hide the base from every later command."""
    done = run_r1("init", "tiny", cwd=tmp_path)
    assert done.returncode == 2 and b"tiny is the name of a base that ships" in done.stderr
    assert not (tmp_path / "tiny").exists()


def test_new_run(run):
    """run.json has what later commands go by; step 0 is the base, and both links point to it."""
    config = json.loads((run / "run.json").read_text())
    assert uuid.UUID(config["run"]).version == 4
    assert config["format"] == 1
    assert config["base"] == {"name": "tiny", "path": str(TINY.resolve())}
    assert config["source"] == {"task": "sum"}
    assert config["template"] == "r1-zero"
    assert (config["seed"], config["keep"], config["save_every"], config["refresh_reference"]) == (0, 2, 1, 400)
    suits = json.loads((TINY / "r1.json").read_text())["defaults"]
    assert config["defaults"] == {name: suits[name] for name in suits if name not in ("task", "template")}
    assert os.readlink(run / "latest") == os.readlink(run / "reference") == "step-000000"
    assert tree(run / "step-000000") == tree(TINY)
    assert sorted(os.listdir(run)) == ["latest", "reference", "run.json", "step-000000"]


def test_options_of_a_new_run(tmp_path):
    """What is asked for is what run.json says; the defaults of the base stay beside it."""
    (tmp_path / "p.jsonl").write_text('{"prompt":"1 + 1","answer":"2"}\n')
    (tmp_path / "mine.txt").write_text("Question: {prompt}\nAnswer:")
    options = (
        "--task p.jsonl --template mine.txt --seed 7 --total-steps 90 --keep 0 --save-every 5 --refresh-reference 0"
    )
    run_r1("init", "run", *options.split(), cwd=tmp_path, check=0)
    config = json.loads((tmp_path / "run" / "run.json").read_text())
    assert config["source"] == {"file": str(tmp_path / "p.jsonl")}
    assert config["template"] == "Question: {prompt}\nAnswer:"
    assert (config["seed"], config["keep"], config["save_every"], config["refresh_reference"]) == (7, 0, 5, 0)
    assert config["defaults"]["grpo"]["total_steps"] == 90
    assert config["defaults"]["grpo"]["lr"] == json.loads((TINY / "r1.json").read_text())["defaults"]["grpo"]["lr"]


def test_runs_are_told_apart(tmp_path):
    """Two runs of one base never take each other's rollouts."""
    for name in "ab":
        run_r1("init", tmp_path / name, check=0)
    ids = [json.loads((tmp_path / name / "run.json").read_text())["run"] for name in "ab"]
    assert ids[0] != ids[1]


def test_nothing_is_overwritten(run, tmp_path):
    """init and export refuse a name that exists, whatever it is, and leave it as it was."""
    before = tree(run)
    (tmp_path / "file").write_text("mine")
    for target in (run, tmp_path / "file"):
        for arguments in (["init", target], ["export", run, target]):
            done = run_r1(*arguments)
            assert done.returncode == 2
            assert done.stderr.decode() == (f"r1 {arguments[0]}: {target} exists; choose another name or remove it\n")
    assert tree(run) == before
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "nothing"], "no task nothing: expected sum, countdown or a JSONL file"),
        (["--task", "twice.jsonl"], 'twice.jsonl:2: duplicate id "a"'),
        (["--task", "empty.jsonl"], "empty.jsonl holds no prompts"),
        (["--task", "torn.jsonl"], "torn.jsonl:1: not JSON"),
        (["--template", "nothing"], "no template nothing: expected one of r1-zero, chat, raw or a file"),
        (["--template", "empty.jsonl"], "has no {prompt} in it"),
        (["--total-steps", "0"], "'--total-steps'"),
    ],
)
def test_run_that_would_not_work(tmp_path, options, words):
    """Found when the run is made and not at its first step; nothing is left behind."""
    (tmp_path / "twice.jsonl").write_text('{"id":"a","prompt":"x"}\n{"id":"a","prompt":"y"}\n')
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "torn.jsonl").write_text('{"id":')
    before = sorted(os.listdir(tmp_path))
    done = run_r1("init", "run", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr.decode() and done.stderr.count(b"\n") == 1
    assert sorted(os.listdir(tmp_path)) == before


def step(run):
    """One update through the pipe; its metrics and the rollouts that were sampled."""
    rollouts = run_r1("sample", run, "--questions", "2", "--group", "4", "--max-tokens", "24", check=0).stdout
    judged = run_r1("reward", "--format", "--accuracy", "-q", stdin=rollouts, check=0).stdout
    # A loss that does not wait for luck with the rewards: the entropy bonus always moves the weights.
    done = run_r1("grpo-step", "--entropy", "0.1", stdin=judged, check=0)
    return json.loads(done.stdout), judged


def test_export_and_rollback(tmp_path):
    """A trained step leaves as a model that transformers loads; going back makes the run continue from there."""
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = tmp_path / "run"
    run_r1("init", run, "--keep", "0", check=0)
    run_r1("serve", run, "--detach", check=0)
    first, judged = step(run)
    second, later = step(run)
    refused = run_r1("rollback", run, "--to", "1")
    assert refused.returncode == 1 and b"is in use by process" in refused.stderr and b"--stop" in refused.stderr
    run_r1("serve", run, "--stop", check=0)
    assert [first["step"], second["step"]] == [1, 2]
    assert os.readlink(run / "latest") == "step-000002"

    done = run_r1("export", run, tmp_path / "model", check=0)
    assert done.stderr.decode() == f"r1 export: step-000002 of {run} is in {tmp_path}/model\n"
    run_r1("export", run, tmp_path / "base", "--step", "0", check=0)
    assert tree(tmp_path / "base") == tree(TINY)
    assert (run / "step-000002" / "trainer").is_dir() and not (tmp_path / "model" / "trainer").exists()
    assert sorted(os.listdir(tmp_path / "model")) == sorted(os.listdir(TINY))
    trained, base = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("model", "base"))
    moved = [name for name, value in trained.state_dict().items() if not value.equal(base.state_dict()[name])]
    assert moved and trained.state_dict().keys() == base.state_dict().keys()
    text = "Ann 4, Bob 1. Total?"
    ids = AutoTokenizer.from_pretrained(tmp_path / "model")(text)["input_ids"]
    assert ids == Tokenizer.from_file(str(TINY / "tokenizer.json")).encode(text).ids
    missing = run_r1("export", run, tmp_path / "other", "--step", "9")
    assert missing.returncode == 2 and missing.stderr == f"r1 export: {run} has no step 9; it has 0, 1, 2\n".encode()

    missing = run_r1("rollback", run, "--to", "9")
    assert missing.returncode == 2 and b"no step 9; it has 0, 1, 2" in missing.stderr
    run_r1("rollback", run, "--to", "1", check=0)
    assert os.readlink(run / "latest") == "step-000001"
    assert not (run / "step-000002").exists()
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1]
    assert [json.loads(line)["step"] for line in (run / "metrics.lost.jsonl").read_text().splitlines()] == [2]

    # Rollouts of step 1 train it again, to the same numbers: weights and Adam's state came back.
    again = run_r1("grpo-step", "--entropy", "0.1", stdin=later, check=0)
    same = {key: value for key, value in json.loads(again.stdout).items() if key not in ("seconds", "saved")}
    assert same == {key: second[key] for key in same}
    assert os.readlink(run / "latest") == "step-000002"
    # What step 0 sampled is older still; it was applied, and stays so.
    run_r1("rollback", run, "--to", "0", check=0)
    stale = run_r1("grpo-step", stdin=later)
    assert stale.returncode == 2 and b"sample again" in stale.stderr
    assert os.readlink(run / "latest") == "step-000000"
    redone = run_r1("grpo-step", "--entropy", "0.1", stdin=judged, check=0)
    assert json.loads(redone.stdout)["loss"] == first["loss"]


def test_run_from_a_run(run, tmp_path):
    """A run's current step is a base like any other; the new run is its own and has no trainer state."""
    run_r1("init", tmp_path / "next", "--from", run, check=0)
    old, new = (json.loads((folder / "run.json").read_text()) for folder in (run, tmp_path / "next"))
    assert new["run"] != old["run"] and new["base"]["path"] == str(run / "step-000000")
    assert tree(tmp_path / "next" / "step-000000") == tree(TINY)


def test_generated_prompts():
    """The same questions for the same seed, others for another seed, and no held-out one among those to train on."""

    def questions(*options):
        lines = run_r1("prompts", "sum", *options, check=0).stdout.splitlines()
        records = [json.loads(line) for line in lines]
        assert all(list(record) == ["id", "prompt", "answer", "task"] for record in records)
        assert len({record["id"] for record in records}) == len(records)
        return [record["prompt"] for record in records]

    train = questions("--limit", "300")
    assert len(train) == 300 and len(questions()) == 32
    assert questions("--limit", "5", "--skip", "7") == train[7:12]
    assert questions("--limit", "300", "--seed", "1") != train
    assert not set(train) & set(questions("--limit", "300", "--split", "test"))
    assert questions("--limit", "0") == []


def test_prompts_of_a_file(tmp_path):
    """Ids for those without, --skip and --limit by position, --shuffle by seed, and the options that make no sense."""
    file = tmp_path / "p.jsonl"
    file.write_text("".join(json.dumps({"prompt": str(n)}) + "\n" for n in range(40)))

    def prompts(*options):
        return [json.loads(line) for line in run_r1("prompts", file, *options, check=0).stdout.splitlines()]

    plain = prompts()
    assert [record["prompt"] for record in plain] == [str(n) for n in range(40)]
    assert len({record["id"] for record in plain}) == 40
    assert prompts("--skip", "3", "--limit", "2") == plain[3:5]
    shuffled = prompts("--shuffle")
    assert shuffled != plain and sorted(map(str, shuffled)) == sorted(map(str, plain))
    assert prompts("--shuffle") == shuffled != prompts("--shuffle", "--seed", "1")
    for arguments, words in (
        (["sum", "--shuffle"], b"--shuffle is for files"),
        ([file, "--split", "test"], b"--split is for generated tasks"),
        (["nothing"], b"cannot read nothing: No such file"),
    ):
        done = run_r1("prompts", *arguments, cwd=tmp_path)
        assert done.returncode == 2 and words in done.stderr and done.stderr.count(b"\n") == 1
