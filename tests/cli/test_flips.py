"""Every option does something: a line with it and the same line without it differ in what comes out, or it is refused.

Not a test of what an option does; only that none is decoration. The settings of grpo-step, sft and distill are held
against what reads them by test_options.py, and need updates to be seen; what is left out is named with its reason.
"""

import json
import re
import shlex
import shutil

import pytest
from conftest import run_r1
from forking import Forking

from r1cli.manual import generate

DESCRIBED = {command.name: command for command in generate.described()}
# What differs between two runs of the same line.
CHANCE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|20\d\d-\d\d-\d\dT[\d:.]+Z?|\b[0-9.]+ s\b|\b[pm][0-9a-f]{10}\b")
QUIET, VERBOSE = "-q", ("BASE nowhere.jsonl", "BASE nowhere.jsonl -v")

# By command: a line, and for each option what is added to it, or a pair of lines of its own; BASE is the line.
FLIPS = {
    "init": ("new", {
        "base": "--from base", "task": "--task countdown", "template": "--template chat", "seed": "--seed 3",
        "total_steps": "--total-steps 9", "keep": "--keep 5", "save_every": "--save-every 3",
        "refresh_reference": "--refresh-reference 7", "lora": "--lora 4",
        "lora_alpha": ("new --lora 4", "new --lora 4 --lora-alpha 8"),
        "lora_targets": ("new --lora 4", "new --lora 4 --lora-targets attention"),
        "quiet": QUIET, "verbose": ("base", "base -v"),
    }),
    "prompts": ("data.csv --prompt-field q --answer-field a", {
        "preset": ("gsm.jsonl", "gsm.jsonl --preset gsm8k"), "split": ("sum", "sum --split test"),
        "config": "--config main", "revision": "--revision main",
        "input_format": ("table --prompt-field q", "table --prompt-field q --input-format tsv"),
        "prompt_field": "--prompt-field why", "answer_field": "--answer-field why",
        "answer_from": "--answer-from boxed", "id_field": "--id-field key", "task": "--task math",
        "task_field": "--task-field kind", "prompt_template": "--prompt-template boxed",
        "shuffle_choices": "--shuffle-choices", "repeat": "--repeat 2", "tests_dir": "--tests-dir tests",
        "unique": "--unique", "limit": "-n 1", "skip": "--skip 1", "shuffle": "--shuffle",
        "seed": ("sum", "sum --seed 5"), "output": "-o out.jsonl",
        "skip_bad": ("bad.jsonl", "bad.jsonl --skip-bad"),
        "quiet": ("bad.jsonl --skip-bad", "bad.jsonl --skip-bad -q"), "verbose": VERBOSE,
    }),
    "reward": ("--format rolls.jsonl", {
        "accuracy": "--accuracy", "choice": "--choice", "ifeval": "--ifeval", "format_": ("rolls.jsonl", "BASE"),
        "language": "--language=en", "length": "--length dapo --max-length 9", "repetition": "--repetition",
        "judge": "--judge nowhere", "exec_": """--exec 'x=jq -c "{rid, reward: 1}"'""",
        "python": "--python mine.py:score", "weight": "--weight format=0.5", "lenient": ("--accuracy rolls.jsonl",
        "--accuracy rolls.jsonl --lenient"), "format_shape": "--format-shape think",
        "language_detector": "--language-detector",
        "max_length": ("--length dapo rolls.jsonl", "--length dapo --max-length 3 rolls.jsonl"),
        "length_cache": ("--length dapo --max-length 9 rolls.jsonl", "--length dapo --max-length 9 --length-cache 5 "
        "rolls.jsonl"), "ngram": ("--repetition rolls.jsonl", "--repetition --ngram 2 rolls.jsonl"),
        "sandbox": "--sandbox landlock", "unsafe_no_sandbox": "--unsafe-no-sandbox", "code_timeout": "--code-timeout 2",
        "code_memory": "--code-memory 99", "partial": "--partial", "judge_model": "--judge-model m",
        "judge_prompt": "--judge-prompt mine.py", "concurrency": "--concurrency 2", "timeout": "--timeout 3",
        "on_error": "--on-error null", "jobs": "--jobs 2",
        "selftest": ("--accuracy rolls.jsonl", "--accuracy rolls.jsonl --selftest"), "output": "-o out.jsonl",
        "skip_bad": ("--format bad.jsonl", "--format bad.jsonl --skip-bad"), "quiet": QUIET, "verbose": VERBOSE,
    }),
    "filter": ("--max-chars 999 rolls.jsonl", {
        "finish_reason": "--finish-reason stop", "correct": "--correct", "correct_by": "--correct-by format",
        "min_reward": "--min-reward 1", "max_tokens": "--max-tokens 3", "max_chars": "--max-chars 30",
        "no_code_in_think": "--no-code-in-think", "max_paragraph_chars": "--max-paragraph-chars 9",
        "language_min": "--language-min 0.9", "language": ("--language-min 0.9 rolls.jsonl",
        "--language-min 0.9 --language zh rolls.jsonl"), "max_repeat": "--max-repeat 0.2",
        "decontaminate": "--decontaminate held.jsonl", "ngram": (
        "--decontaminate near.jsonl rolls.jsonl", "--decontaminate near.jsonl --ngram 2 rolls.jsonl"),
        "decontaminate_answers": ("--decontaminate said.jsonl --ngram 2 rolls.jsonl",
        "--decontaminate said.jsonl --ngram 2 --decontaminate-answers rolls.jsonl"),
        "dedupe": "--dedupe exact --dedupe-by completion",
        "dedupe_by": ("--dedupe exact rolls.jsonl", "--dedupe exact --dedupe-by prompt rolls.jsonl"),
        "similarity": "--similarity 0.5", "solve_rate": "--solve-rate 0.9:1", "informative": "--informative",
        "best_of": "--best-of shortest", "per_prompt": "--per-prompt 1",
        "whole_input": ("--per-prompt 1 --best-of longest apart.jsonl",
        "--per-prompt 1 --best-of longest apart.jsonl --whole-input"),
        "mark": "--max-chars 30 --mark", "rejects": "--max-chars 30 --rejects out.jsonl", "output": "-o out.jsonl",
        "skip_bad": ("--max-chars 9 bad.jsonl", "--max-chars 9 bad.jsonl --skip-bad"), "quiet": QUIET,
        "verbose": VERBOSE,
    }),
    "sample": ("SERVED --questions 2 --group 2", {
        "questions": "--questions 1", "group": "--group 1", "temperature": "--temperature 0", "top_p": "--top-p 0.1",
        "max_tokens": "--max-tokens 2", "stop": "--stop '<'", "template": "--template raw",
        "few_shot": "--few-shot shots.jsonl", "prefill": "--prefill '<think>'", "seed": "--seed 9", "draw": "--draw 1",
        "split": "--split test", "output": "-o out.jsonl", "skip_bad": ("SERVED bad.jsonl", "SERVED bad.jsonl "
        "--skip-bad"), "model": "--model m", "concurrency": "--concurrency 2", "device": "--device cpu",
        "threads": "--threads 1", "slots": "--slots 3", "sampler": "--sampler torch", "gpu_memory": "--gpu-memory 0.5",
        "engines": "--engines 2", "tensor_parallel": "--tensor-parallel 2",
        "verbose": "-v",
    }),
    "eval": ("SERVED --questions 2 -k 2", {
        "preset": "--preset gsm8k gsm.jsonl", "samples": "-k 1", "pass_at": "--pass-at 1,2 -k 3", "cons_at":
        "--cons-at 2 -k 3", "ties": "--ties first", "compare": "--compare", "common": "--common",
        "questions": "--questions 1", "temperature": "--temperature 0", "top_p": "--top-p 0.1",
        "max_tokens": "--max-tokens 2", "stop": "--stop '<'", "template": "--template raw", "seed": "--seed 9",
        "strict": "--strict", "items": "--items out.jsonl", "model": "--model m", "concurrency": "--concurrency 2",
        "output": "-o out.jsonl", "device": "--device cpu", "threads": "--threads 1",
        "slots": "--slots 3", "sampler": "--sampler torch", "gpu_memory": "--gpu-memory 0.5", "engines": "--engines 2",
        "tensor_parallel": "--tensor-parallel 2", "quiet": QUIET, "verbose": "-v",
    }),
    "show": ("rolls.jsonl", {
        "limit": "-n 1", "groups": "--groups", "diff": ("rolls.jsonl apart.jsonl", "--diff rolls.jsonl apart.jsonl"),
        "tokens": "--tokens", "tokenizer": "--tokenizer base", "field": "-f reward", "html": "--html out.html",
        "skip_bad": ("bad.jsonl", "bad.jsonl --skip-bad"),
        "quiet": ("bad.jsonl --skip-bad", "bad.jsonl --skip-bad -q"), "verbose": VERBOSE,
    }),
    "plot": ("metrics.jsonl", {
        "metric": "-m kl", "over": "--over tokens", "smooth": "--smooth 3", "label": "--label mine other.jsonl",
        "output": "-o out.svg", "theme": ("BASE -o out.svg", "BASE -o out.svg --theme dark"), "height": "--height 3",
        "verbose": VERBOSE,
    }),
    "serve": ("RUN --plan --gpus 8", {
        "plan": ("RUN --status", "RUN --plan"), "status": "--status", "stop": ("RUN --status", "RUN --stop"),
        "slots": "--slots 1", "gradient_checkpointing": "--gradient-checkpointing", "sampler": "--sampler vllm",
        "gpu_memory": ("BASE --sampler vllm", "BASE --sampler vllm --gpu-memory 0.3"),
        "sleep": ("BASE --sampler vllm", "BASE --sampler vllm --sleep"), "gpus": "--gpus 2",
        "hostfile": "--hostfile hosts", "nnodes": "--nnodes 2", "trainer": "--trainer torch", "zero": "--zero 3",
        "offload": "--offload optimizer", "gpu_size": "--gpu-size 1GB", "model_size": "--model-size 7B",
        "micro_tokens": "--micro-tokens 99999", "context": "--context 9999", "lora": "--lora 8", "quiet": QUIET,
        "verbose": ("nowhere", "nowhere -v"),
    }),
    "export": ("RUN out", {
        "step": "--step 7", "adapter": "--adapter", "quiet": QUIET, "verbose": ("RUN base", "RUN base -v"),
    }),
    "rollback": ("RUN --to 0", {"to": "--to 7", "quiet": QUIET,
        "verbose": ("nowhere --to 0", "nowhere --to 0 -v"),
    }),
}  # fmt: skip
ELSEWHERE = {
    ("reward", "code"): "test_code.py: programs run in a sandbox",
    ("sample", "quiet"): "test_terminal.py: it says nothing but its progress",
    ("eval", "jobs"): "how fast, not what; reward --jobs without a judge is refused",
    ("plot", "quiet"): "it says nothing but errors",
    ("plot", "follow"): "test_plot.py: it does not end by itself",
    ("serve", "detach"): "test_serve.py: a backend",
    ("serve", "device"): "a plan is of a GPU; test_ranks_options.py",
    ("serve", "threads"): "a plan has no threads; test_serve.py",
    ("serve", "engines"): "test_sampler_option.py",
    ("serve", "tensor_parallel"): "test_sampler_option.py",
    ("serve", "node_rank"): "test_ranks_options.py",
    ("serve", "rendezvous"): "test_ranks_options.py",
}
LONG = "so it is so it is so it is so it is so it is so it is"
CODE = "<think>a\n```\nx\n```</think><answer>5</answer>"
TEXTS = (CODE, f"<think>{LONG}</think> the answer is 5", f"<think>{'七和八是十五。' * 9}</think>", CODE)
PROMPTS = ("What is two and three, and why is it so?", "Eight and nine?")
ROLL = {
    "answer": "5", "prompt_ids": [1], "sampling": {"max_tokens": 9},
    "instructions": [{"id": "punctuation:no_comma", "kwargs": {}}],
}  # fmt: skip


def rolls():
    """Two rollouts of each of two prompts, which differ in all that is looked at."""
    for place, text in enumerate(TEXTS):
        question, index = divmod(place, 2)
        yield ROLL | {
            "id": f"q{question}", "prompt": PROMPTS[question], "completion": text,
            "completion_ids": [1] * (2 + 2 * place), "finish": "length" if place == 2 else "stop",
            "rewards": {"accuracy": float(place == 0), "format": float(place < 2)}, "reward": max(0.0, 2.0 - place),
            "group": {"id": f"g{question}", "index": index, "size": 2},
        }  # fmt: skip


@pytest.fixture(scope="module")
def prepared(served, tmp_path_factory):
    """The files that the lines name."""
    folder = tmp_path_factory.mktemp("flips")
    run_r1("init", folder / "run", check=0)
    run_r1("export", folder / "run", folder / "base", check=0)
    made = list(rolls())
    metrics = [
        {"step": n, "reward": n % 3, "kl": n / 9, "tokens": 5 * n, "seconds": {"all": 1.0}} for n in range(1, 20)
    ]
    lines = {
        "rolls": made, "apart": [made[0], made[2], made[1]], "held": [{"prompt": f"Tell me: {PROMPTS[0]}"}],
        "near": [{"prompt": "Not eight and nine?"}], "said": [{"prompt": "well so it is then"}],
        "gsm": [{"question": "2+3?", "answer": "so #### 5"}], "metrics": metrics, "other": metrics[:9],
        "shots": [{"prompt": "1+1", "completion": "2"}],
    }  # fmt: skip
    for name, records in lines.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "bad.jsonl").write_text('{"prompt": "1+1", "answer": "2", "completion": "2"}\nno\n')
    (folder / "data.csv").write_text(
        "key,q,a,why,kind\nk1,2+3,\\boxed{5},one,x\nk2,3+3,\\boxed{6},two,y\nk3,3+3,\\boxed{6},three,y\n"
    )
    (folder / "table").write_text("q,a\n1+1,2\n")
    (folder / "mine.py").write_text("def score(row):\n    return 0.5\n")
    return folder


@pytest.fixture(scope="module")
def forking():
    with Forking() as forking:
        yield forking


def outcome(forking, prepared, folder, line, served):
    """All that a line does: exit code, both outputs, and the files that it makes."""
    shutil.copytree(prepared, folder, symlinks=True)
    words = [{"SERVED": str(served), "RUN": "run"}.get(word, word) for word in shlex.split(line)]
    code, out, err = forking.run(words, folder)
    made = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not (prepared / path.relative_to(folder)).exists() and path.suffix != ".safetensors":
            made[str(path.relative_to(folder))] = CHANCE.sub("", path.read_text(errors="replace"))
    shutil.rmtree(folder)
    return code, CHANCE.sub("", out), CHANCE.sub("", err), made


@pytest.mark.parametrize("name", FLIPS)
def test_every_option_does_something(name, prepared, served, forking, tmp_path):
    base, flips = FLIPS[name]
    idle, known = [], {}
    for option, flip in flips.items():
        lines = (base, f"BASE {flip}") if isinstance(flip, str) else flip
        seen = []
        for line in (f"{name} {line.replace('BASE', base)}" for line in lines):
            if line not in known:
                known[line] = outcome(forking, prepared, tmp_path / "copy", line, served)
            seen.append(known[line])
            assert seen[-1][0] in (0, 1, 2), (line, seen[-1])
            assert "; see r1 " not in seen[-1][2], (line, seen[-1][2])  # refused by the parser: the line is wrong
        if seen[0] == seen[1]:
            idle.append((option, line))
    assert not idle, "\n".join(f"{option}: {known[line]}" for option, line in idle)


def test_every_option_is_flipped():
    """A new option needs a flip, or a reason."""
    for name, (_, flips) in FLIPS.items():
        options = {option.name for option in DESCRIBED[name].options if option.name != "help"}
        excused = {option for command, option in ELSEWHERE if command == name}
        assert set(flips) | excused == options, name
        assert not set(flips) & excused
