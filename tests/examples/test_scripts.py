"""The example scripts at their --small size, through the real program: each ends well, and what it makes is there.

Whether models learn at full size is not tested here (test_quickstart.py does for the tiny base).
"""

import json
import re
import shlex
import subprocess

import pytest
from programs_on_path import EXAMPLES, program_folder, run_example
from remote_server import FakeServer, chat

SCRIPTS = sorted(file.name for file in EXAMPLES.glob("*.sh"))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Where the program under test is `r1`."""
    return program_folder(tmp_path_factory.mktemp("bin"))


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def table_of(text):
    """The rows of a Markdown table by their first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_stop_at_the_first_failure(name):
    """A failed stage must end the script; the file that is sourced has that from who sources it."""
    subprocess.run(["bash", "-n", EXAMPLES / name], check=True)
    text = (EXAMPLES / name).read_text()
    assert name == "common.sh" or "\nset -euo pipefail\n" in text
    assert name == "common.sh" or (EXAMPLES / name).stat().st_mode & 0o100


def test_r1_zero_on_a_cluster(tmp_path):
    """cluster.sh runs a script with the backend on every node: here on one, by an srun that runs what it was given.

    The script is r1-zero.sh: it learns, measures before and after, and a longer one goes on where the shorter ended.
    """
    srun = """printf '%s\\n' "$@" > "$0.asked"; while [[ $1 == --* ]]; do shift; done; export SLURM_NODEID=0
set -- "${@:1:3}" "$4"; exec r1 serve "$4" """
    path = program_folder(tmp_path / "bin", srun=srun, scontrol="printf 'first\\nsecond\\n'")
    slurm = {"SLURM_JOB_NODELIST": "first,second", "SLURM_NNODES": "2", "SLURM_SUBMIT_DIR": str(EXAMPLES.parent)}
    command = ("examples/r1-zero.sh", "--small", tmp_path / "zero")
    run_example("cluster.sh", *command, path=path, env={**slurm, "GPUS": "8", "ITERATIONS": "5"})
    asked = (path / "srun.asked").read_text().splitlines()
    assert asked[0] == "--nodes=2" and asked[-5:-1] == [f"{tmp_path}/zero/run", "8", "3", "2"]
    assert asked[-1] == "first:29500" and 'node-rank "$SLURM_NODEID"' in asked[-6]

    done = run_example("r1-zero.sh", *command[1:], path=path)
    updates = lines_of(tmp_path / "zero" / "run" / "metrics.jsonl")
    assert [update["step"] for update in updates] == list(range(1, 9))
    table = table_of(done.stdout)
    assert table["Benchmark (metric)"] == ["base", "R1-Zero-8", "DeepSeek-R1"]
    before, after = (float(cell) for cell in table["Sums (pass@1)"][:2])
    assert before < after
    assert {file.name for file in (tmp_path / "zero" / "results").iterdir()} == {
        "base.sum.json", "R1-Zero-5.sum.json", "R1-Zero-8.sum.json",
    }  # fmt: skip
    assert "  accuracy: " in done.stdout and not (tmp_path / "zero" / "run" / "serve.json").exists()


def test_what_a_cluster_would_start(path, tmp_path):
    """DRY prints the command for all nodes; r1 serve must know each of its options."""
    scontrol = program_folder(tmp_path, scontrol="printf 'n1\\nn2\\n'")
    slurm = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NNODES": "2", "DRY": "1", "ZERO": "2", "PORT": "7000"}
    done = run_example("cluster.sh", "--serve", "runs/big", path=scontrol, env=slurm)
    srun, *words = shlex.split(done.stdout)
    assert srun == "srun" and words[-5:] == ["runs/big", "8", "2", "2", "n1:7000"]
    serve = subprocess.run([path / "r1", "serve", "--help"], capture_output=True, text=True, check=True).stdout
    options = re.findall(r" (--[a-z-]+) ", words[-6])
    assert options and all(f" {option} " in serve for option in options)


def test_r1_in_four_stages(path, tmp_path):
    """Each stage makes what the next one needs, the base is fine-tuned anew in stage 3, preference comes last."""
    out = tmp_path / "r1"
    done = run_example("r1.sh", "--small", out, path=path)
    for examples in ("1-examples.jsonl", "3-examples.jsonl"):
        kept = lines_of(out / examples)
        assert kept and all(record["reward"] == 2 and record["finish"] == "stop" for record in kept)
        assert all("得" not in record["completion"] for record in kept)
    origins = {
        stage: json.loads((out / stage / "run.json").read_text())["base"]["name"]
        for stage in ("1-cold", "2-reasoning", "3-sft", "4-all")
    }
    assert origins == {
        "1-cold": "tiny", "2-reasoning": f"{out}/1-cold", "3-sft": "tiny", "4-all": f"{out}/3-sft",
    }  # fmt: skip
    reasoning, last = (lines_of(out / stage / "metrics.jsonl") for stage in ("2-reasoning", "4-all"))
    assert all(set(update["rewards"]) == {"format", "accuracy", "language"} for update in reasoning)
    assert ["preference" in update["rewards"] for update in last] == [False] * 6 + [True] * 2
    table = table_of(done.stdout)
    assert table["Benchmark (metric)"] == ["Dev1", "Dev2", "Dev3", "R1", "DeepSeek-R1"]
    assert all(0 <= float(cell) <= 100 for cell in table["Sums (pass@1)"][:4])
    assert "stopped" not in done.stdout and not list(out.glob("*/serve.json"))


def test_distillation(path, tmp_path):
    """A teacher's checked answers make examples, the student learns from them and is measured before and after."""
    out = tmp_path / "distill"
    done = run_example("distill.sh", "--small", out, path=path)
    assert json.loads((out / "student" / "run.json").read_text())["base"]["name"] == "tiny-student"
    kept, updates = (lines_of(out / name) for name in ("student.work/kept.jsonl", "student/metrics.jsonl"))
    assert kept and all(record["reward"] == 2 and record["finish"] == "stop" for record in kept)
    assert sum(update["samples"] for update in updates) == len(kept)
    assert max(update["lr"] for update in updates) <= 2e-3
    assert table_of(done.stdout)["Benchmark (metric)"] == ["base", "distilled", "DeepSeek-R1"]


def test_students_of_the_paper_are_known(path, tmp_path):
    """An unknown student is refused before anything is made, with the names of those that are known."""
    done = run_example("distill.sh", tmp_path / "x", path=path, env={"STUDENT": "qwen-3b"}, check=2)
    assert "no student qwen-3b" in done.stderr and not (tmp_path / "x").exists()


def test_refining_keeps_right_answers_only(path):
    """The rewriter sees question and draft; a rewriting that loses the answer or the format is left out."""
    draft = {
        "id": "a",
        "prompt": "1 + 1?",
        "answer": "2",
        "task": "math",
        "completion": "<think>2</think><answer>2</answer>",
    }
    good = "<think>I add one and one, which is two.</think><answer>2</answer>"
    answers = {"1 + 1?": good, "1 + 2?": "<think>So four.</think><answer>4</answer>", "1 + 3?": "It is 4."}
    drafts = [{**draft, "id": q, "prompt": q, "answer": a} for q, a in zip(answers, "234", strict=True)]

    def answer(request):
        question = next(q for q in answers if q in request.question)
        assert draft["completion"] in request.question
        return chat(answers[question])

    with FakeServer(answer) as server:
        text = "".join(json.dumps(record) + "\n" for record in drafts)
        done = run_example("refine.sh", server.url, path=path, input=text)
    (kept,) = map(json.loads, done.stdout.splitlines())
    assert kept["prompt"] == "1 + 1?" and kept["completion"] == good and kept["draft"] == draft["completion"]


def test_a_table_needs_checkpoints(path):
    """Without any, evaluate.sh says how it is used."""
    assert "usage: " in run_example("evaluate.sh", path=path, check=2).stderr
