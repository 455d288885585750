"""What the program says: one line an error, one closing line, and how much of it -q and -v let through."""

import json

import pytest
from conftest import run_r1

from r1cli import app

ROLLOUT = {"id": "a", "prompt": "1 + 1", "answer": "2", "completion": "<think>1</think><answer>2</answer>"}


def test_quiet_and_verbose(tmp_path):
    """By default one closing line; -q says nothing; -v shows where an error came from."""
    line = json.dumps(ROLLOUT).encode() + b"\n"
    usual = run_r1("reward", "--format", stdin=line, check=0)
    assert usual.stderr == b"r1 reward: 1 records, mean reward 1.000 (sd 0.000), format 1.000\n"
    assert run_r1("reward", "--format", "-q", stdin=line, check=0).stderr == b""
    for option, lines in (("-q", 1), ("-v", 2)):
        failed = run_r1("reward", "--format", option, stdin=b"no\n")
        assert failed.returncode == 2
        assert failed.stderr.startswith(b"r1 reward: stdin:1: not JSON")
        assert (failed.stderr.count(b"\n") >= lines) and (b"Traceback" in failed.stderr) == (option == "-v")


def test_error_is_one_line_whatever_the_file_name(tmp_path):
    """A newline or an escape sequence in a name can neither forge a second line nor steer the terminal."""
    done = run_r1("reward", "--format", "a\nr1 reward: fine\x1b[2J", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == b"r1 reward: cannot read a r1 reward: fine\\x1b[2J: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["sample", "--temprature", "2"], "no such option --temprature; did you mean --temperature or --template? see"),
        (["sample"], "missing argument 'CKPT'; see"),
        (["sample", "ckpt", "--group"], "option '--group' requires an argument; see"),
        (["sample", "ckpt", "--group", "0"], "invalid value for '--group': 0 is not in the range x>=1; see"),
        (["rollback", "ckpt"], "missing option '--to'; see"),
        (["smaple"], "no such command 'smaple'; did you mean 'sample'? see"),
        (["--nothing"], "no such option --nothing; see"),
        (["help", "smaple"], "no such command 'smaple'; did you mean 'sample'? see"),
        (["sample", "ckpt", "-temperature", "1"], "no such option -temperature; did you mean --temperature? see"),
        (["sample", "ckpt", "--max_tokens", "1"], "no such option --max_tokens; did you mean --max-tokens? see"),
        (["sample", "ckpt", "-x"], "no such option -x; see"),
        (["sample", "ckpt", "--group", "x"], "invalid value for '--group': 'x' is not a whole number; see"),
        (
            ["sample", "ckpt", "--split", "tset"],
            "invalid value for '--split': 'tset' is not one of 'train', 'test'; did you mean test? see",
        ),
    ],
)
def test_usage_error_is_one_line(arguments, line):
    command = "r1 sample" if arguments[0] == "sample" else "r1 rollback" if arguments[0] == "rollback" else "r1"
    done = run_r1(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"{command}: {line} {command} --help\n"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("grpo-step --beta 0.1", "--kl"),
        ("sample ckpt --num-generations 8", "--group"),
        ("sample ckpt --num_generations=8", "--group"),
        ("sample ckpt -n 8", "--group"),
        ("sample ckpt -n8", "--group"),
        ("sample ckpt -num-generations 8", "--group"),
        ("eval ckpt --num-generations 8", "--samples"),
        ("grpo-step --learning-rate 1e-6", "--lr"),
        ("sample ckpt --max-completion-length 9", "--max-tokens"),
        ("sample ckpt --max_new_tokens 9", "--max-tokens"),
        ("grpo-step --epsilon 0.2", "--clip-low"),
        ("grpo-step --epsilon-high 0.28", "--clip-high"),
        ("sft ckpt --num-train-epochs 2", "--epochs"),
        ("sft ckpt --per-device-train-batch-size 8", "--batch"),
        ("distill ckpt --batch-size 8", "--batch"),
        ("sft ckpt --output-dir x", "--out"),
        ("sample ckpt --output-dir x", "--output"),
        ("grpo-step -n 8", None),
        ("sft ckpt --num-generations 8", None),
    ],
)
def test_names_of_other_trainers_lead_to_ours(line, meant):
    """Whoever comes from TRL, verl or OpenRLHF is told our name, but only by a command that has such an option."""
    with pytest.raises(app.UsageFault) as caught:
        app.dispatch(line.split())
    guess = f"did you mean {meant}? " if meant else ""
    assert str(caught.value).partition("; ")[2] == f"{guess}see r1 {line.split()[0]} --help"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["sample", "ru"], "run"),
        (["reward", "--format", "sub/rollout.jsonl"], "sub/rollouts.jsonl"),
        (["sample", "run", "--template", "r1zero"], "r1-zero"),
        (["init", "new", "--task", "contdown"], "countdown"),
        (["init", "new", "--from", "tny"], "tiny"),
        (["prompts", "smu"], "sum"),
        (["prompts", "--preset", "gsm9k"], "gsm8k"),
        (["prompts", "--preset", "gsm8k", "--prompt-template", "boxt"], "boxed"),
        (["reward", "--format", "--weight", "fromat=2", "sub/rollouts.jsonl"], "format"),
    ],
)
def test_names_have_their_nearest_too(run, arguments, meant):
    """What is not in the signature is asked after as well: files, runs, presets, templates, tasks, rewards."""
    (run.parent / "sub").mkdir()
    (run.parent / "sub" / "rollouts.jsonl").write_text(json.dumps(ROLLOUT))
    done = run_r1(*arguments, cwd=run.parent)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert done.stderr.endswith(f"; did you mean {meant}?\n".encode())


def test_a_common_suffix_is_no_likeness(tmp_path):
    """A guess that is as good as any other is not made."""
    (tmp_path / "rollouts.jsonl").write_text("")
    done = run_r1("reward", "--format", "prompts.jsonl", cwd=tmp_path)
    assert done.stderr == b"r1 reward: cannot read prompts.jsonl: No such file or directory\n"
