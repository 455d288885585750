"""r1 distill: the recipe on rollouts, and a teacher's rollouts made by stages that are seen and used again."""

import json
import os
import shutil
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
from batches import refused
from conftest import ENVIRONMENT, R1, run_r1, shell
from distill_work import OPTIONS, PROMPTS, lines, taught
from models import write_checkpoint
from remote_server import FakeServer, Reply, error

from r1cli.algorithms.recipe import distillation
from r1cli.backend.checkpoint import read_config
from r1cli.backend.sft_input import read_settings
from r1cli.runs import Run, locate

ROLLOUTS = [
    {"prompt": f"Ann {n}, Bob 2. Total?", "completion": f"<think>Ann {n}, Bob 2 makes {n + 2}</think>{n + 2}"}
    for n in range(7)
]


@pytest.mark.parametrize(
    ("billions", "llama", "rate"),
    [
        (0.5, False, 1e-4), (1.54, False, 1e-4), (3.1, False, 1e-4), (4.0, False, 8e-5), (7.6, False, 8e-5),
        (14.8, False, 7e-5), (32.8, False, 6e-5), (72.7, False, 6e-5), (1.2, True, 5e-5), (8.0, True, 5e-5),
        (70.6, True, 2e-5),
    ],
)  # fmt: skip
def test_rate_by_size_is_the_papers(billions, llama, rate):
    """Table 6 at its own sizes, and the nearest of them by ratio elsewhere: 3.1B is nearer to 1.5B, 4.0B to 7B."""
    assert distillation(int(billions * 1e9), llama=llama) == {"lr": rate, "batch": 64}


def metrics(done):
    return [{**json.loads(line), "seconds": None} for line in done.stdout.splitlines()]


def test_distill_is_sft_with_the_papers_recipe(tmp_path):
    """The same updates as r1 sft with the recipe's settings, and foreign ids are passed over, counted and said."""
    write_checkpoint(tmp_path / "student", "llama")
    foreign = [{**one, "completion_ids": [3, 4, 5]} for one in ROLLOUTS[:3]] + ROLLOUTS[3:]
    stdin = "".join(json.dumps(one) + "\n" for one in foreign).encode()
    done = run_r1("distill", "student", "--out", "one", "--template", "raw", stdin=stdin, cwd=tmp_path, check=0)
    said = done.stderr.decode().splitlines()
    assert said[:2] == [
        "r1 distill: learning rate 5e-05, the paper's for Llama-8B",
        "r1 distill: tokenised the text of 3 completions whose ids are of another tokenizer",
    ]
    recipe = ("--lr", "5e-5", "--batch", "64", "--retokenize", "--out", "two", "--template", "raw")
    assert metrics(done) == metrics(run_r1("sft", "student", *recipe, stdin=stdin, cwd=tmp_path, check=0))
    assert len(metrics(done)) == 2


def test_what_a_run_says_comes_before_the_paper(tmp_path):
    """What was asked, else run.json, else the recipe, else what r1 sft does; its rate only where it is taken."""
    config, said = read_config(locate("tiny")[0]), []
    for own, asked, expected, words in (
        ({}, {}, (1e-4, 64, 2), ["learning rate 0.0001, the paper's for Qwen-1.5B"]),
        ({"lr": 1e-3, "batch": 32, "epochs": 4}, {}, (1e-3, 32, 4), []),
        ({"lr": 1e-3}, {"lr": 3e-3, "epochs": 3}, (3e-3, 64, 3), []),
    ):
        run = Run(tmp_path, {"defaults": {"sft": own}})
        found = read_settings(run, config, {"recipe": "distill", "settings": asked}, said.append)
        assert (found.lr, found.batch, found.epochs) == expected and said == words
        said.clear()
    assert read_settings(Run(tmp_path, {}), config, {}).batch == 128


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A teacher whose line drops and then refuses for good, and the same command again; what was there after each."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "prompts.jsonl").write_bytes(PROMPTS)
    broken = [True]

    def answer(request):
        if request.number == 3:
            return Reply(b"{}", cut=0)
        return error(401, "no more") if broken[0] and request.number > 14 else taught(request)

    with FakeServer(answer) as server:
        command = ("distill", "tiny", "prompts.jsonl", "--out", "run", "--teacher", server.url, *OPTIONS)
        failed = run_r1(*command, cwd=folder)
        there = set(os.listdir(folder)) | set(os.listdir(folder / "run.work"))
        part = folder / "run.work" / "rollouts.jsonl.part"
        before = lines(part)
        with part.open("ab") as file:
            file.write(b'{"id": "q5", "gro')  # as a kill in the middle of a line leaves it
        broken[0], asked = False, len(server.requests)
        done = run_r1(*command, cwd=folder, check=0)
        yield SimpleNamespace(
            folder=folder, work=folder / "run.work", command=command, server=server, failed=failed, there=there,
            before=before, done=done, said=done.stderr.decode(), asked=len(server.requests) - asked,
        )  # fmt: skip


def test_an_interrupted_sampling_goes_on(pipeline):
    """What a teacher gave before it failed for good is kept, the rest is asked for, each sample exists once."""
    assert pipeline.failed.returncode == 1 and pipeline.failed.stdout == b""
    last = pipeline.failed.stderr.decode().splitlines()[-1]
    assert last.startswith(
        "r1 distill: r1 sample ended with exit code 1; what it has sampled stays in run.work/rollouts"
    )
    assert pipeline.there == {"prompts.jsonl", "run.work", "lock", "rollouts.jsonl.part", "stages.json"}
    before = pipeline.before
    assert 0 < len(before) < 16 and len(before) % 4 == 0
    assert f"{len(before) // 4} of 6 prompts were sampled before" in pipeline.said
    assert pipeline.asked == 24 - len(before)
    rollouts = lines(pipeline.work / "rollouts.jsonl")
    assert len(rollouts) == 24 and rollouts[: len(before)] == before
    assert {(one["id"], one["group"]["index"]) for one in rollouts} == {
        (f"q{i}", j) for i in range(6) for j in range(4)
    }
    assert not list(pipeline.work.glob("*.part"))


def test_the_stages_are_the_commands_that_are_shown(pipeline, tmp_path):
    """The lines that begin with a plus, run by a shell, give the same records, and the training is of those kept."""
    shown = [line.partition(" + ")[2] for line in pipeline.said.splitlines() if " + " in line]
    assert [line.split()[1] for line in shown] == ["sample", "reward", "filter", "distill"]
    shutil.copytree(pipeline.work, tmp_path / "run.work")
    for name in ("rewarded", "kept"):
        (tmp_path / "run.work" / f"{name}.jsonl").unlink()
    assert shell("\n".join(shown[1:3]), cwd=tmp_path).returncode == 0
    kept = lines(pipeline.work / "kept.jsonl")
    assert [(one["id"], one["completion"]) for one in lines(tmp_path / "run.work" / "kept.jsonl")] == [
        (one["id"], one["completion"]) for one in kept
    ]
    right = [one for one in lines(pipeline.work / "rollouts.jsonl") if "99" not in one["completion"]]
    assert 0 < len(kept) <= 12 and {one["id"] for one in kept} == {one["id"] for one in right}
    assert all(one["rewards"]["accuracy"] == 1 for one in kept)
    assert sum(record["samples"] for record in metrics(pipeline.done)) == 4 * len(kept)  # the tiny base's 4 epochs


def test_stages_are_used_again(pipeline):
    """Another filter makes its own file anew, and nothing else; what was sampled otherwise is refused."""
    folder, asked = pipeline.folder, len(pipeline.server.requests)
    kept = lines(pipeline.work / "kept.jsonl")
    again = run_r1(
        *pipeline.command[:-1], "--correct --per-prompt 1", "--restart", "--epochs", "1", cwd=folder, check=0
    )
    said = again.stderr.decode()
    assert "rollouts.jsonl is there: not sampled again" in said and "r1 reward is not run again" in said
    assert "+ r1 filter run.work/rewarded.jsonl --correct --per-prompt 1 > run.work/kept.jsonl" in said
    assert [one["id"] for one in lines(pipeline.work / "kept.jsonl")] == list(dict.fromkeys(one["id"] for one in kept))
    refused(
        run_r1(*pipeline.command, "--sample", "--group 5", cwd=folder),
        "rollouts.jsonl is there and was made with other options of r1 sample (http", "name another --work",
    )  # fmt: skip
    other = ("distill", "tiny", "-", *pipeline.command[3:])
    done = run_r1(*other, stdin=PROMPTS.splitlines(True)[0], cwd=folder)
    refused(done, "was made with other prompts")
    assert len(pipeline.server.requests) == asked


def test_killed_while_the_teacher_works(tmp_path):
    """SIGKILL leaves the finished groups, the stage ends by itself, and the same command asks for the rest."""
    hold = threading.Event()

    def answer(request):
        if request.question[len("What is ")] not in "01":  # by its prompt: requests may overtake each other
            hold.wait(120)
        return taught(request)

    with FakeServer(answer) as server:
        command = ("distill", "tiny", "--out", "run", "--epochs", "1", "--teacher", server.url, *OPTIONS)
        process = subprocess.Popen(
            [*R1, *command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path,
            env=ENVIRONMENT,
        )  # fmt: skip
        process.stdin.write(PROMPTS)
        process.stdin.close()
        part = tmp_path / "run.work" / "rollouts.jsonl.part"
        deadline = time.monotonic() + 120
        while not (part.exists() and part.read_bytes().count(b"\n") == 8):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.kill()
        hold.set()
        process.stderr.read()  # it ends only when the stage, which shares it, has ended
        process.wait()
        before = part.read_bytes()
        assert before.count(b"\n") == 8
        asked = len(server.requests)
        run_r1(*command, stdin=PROMPTS, cwd=tmp_path, check=0)
        assert len(server.requests) - asked == 16
        assert (tmp_path / "run.work" / "rollouts.jsonl").read_bytes().startswith(before)


def test_top_k_through_the_program(tmp_path):
    """A teacher that is the student: nothing is left to learn."""
    stdin = "".join(json.dumps(one) + "\n" for one in ROLLOUTS).encode()
    command = ("distill", "tiny", "--out", "run", "--teacher", "tiny", "--epochs", "1", "--top-k", "8")
    (record,) = metrics(run_r1(*command, stdin=stdin, cwd=tmp_path, check=0))
    assert record["forward_kl"] == record["loss"] == pytest.approx(0, abs=1e-6) and record["samples"] == 7
    assert record["grad_norm"] < 1e-5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tiny", "--teacher", "tiny"), "tiny is a plain model folder, which is never written to; name a run with"),
        (("tiny", "--out", "x", "--work", "y"), "--work needs a --teacher"),
        (("tiny", "--out", "x", "--teacher", "nowhere"), "no checkpoint nowhere"),
        (("tiny", "--out", "x", "--teacher", "tiny", "--reward", "--acuracy"), "--reward: no such option --acuracy"),
        (("tiny", "--out", "x", "--teacher", "tiny", "--reward", ""), "--reward: nothing to judge by"),
        (("tiny", "--out", "x", "--teacher", "tiny", "--sample", "-o y"), "--sample can't have -o"),
        (("tiny", "--out", "x", "--teacher", "tiny", "--sample", "--questions 3"), "can't have --questions"),
        (("tiny", "--out", "x", "--teacher", "tiny", "--sample", "'"), "No closing quotation"),
        (("tiny", "--out", "x", "--lr", "-1"), "lr is -1.0; it must be 0 or more"),
        (("tiny", "--out", "x", "--on-policy"), "--on-policy needs a --teacher"),
        (("tiny", "--out", "x", "--top-k", "3"), "--top-k needs a --teacher"),
        (("tiny", "--out", "x", "--top-k", "3", "--on-policy"), "--on-policy and --top-k exclude each other"),
        (("tiny", "--out", "x", "--top-k", "3", "--teacher", "http://x/v1"), "which no server tells"),
        (("tiny", "--out", "x", "--on-policy", "--teacher", "tiny", "--reward", "--format"), "--reward is for the"),
        (("tiny", "--out", "x", "--on-policy", "--teacher", "tiny", "--patience", "3"), "--patience is for given"),
        (("tiny", "--out", "x", "--on-policy", "--teacher", "tiny", "--sample", "--split test"), "it takes --group, "),
    ],
)
def test_mistakes_are_found_before_the_teacher_works(tmp_path, arguments, words):
    """One line, exit 2, and nothing on the disk."""
    refused(run_r1("distill", *arguments, stdin=PROMPTS, cwd=tmp_path), words)
    assert os.listdir(tmp_path) == []
