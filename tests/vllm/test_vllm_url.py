"""`r1 sample URL`, `r1 eval URL` and `r1 reward --judge URL` against vLLM's own server, over a line that drops."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from conftest import ENVIRONMENT, run_r1
from constant_model import constant_checkpoint
from dropping_proxy import DroppingProxy
from residents import records

import r1cli
from r1cli.backend.checkpoint import load_model
from r1cli.backend.remote import seeds
from r1cli.backend.tokenizer import Tokenizer
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.prompts import templates

TINY = Path(r1cli.__file__).parent / "tiny" / "checkpoint"
# One request in so many loses its connection.
EVERY = 20
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
OPTIONS = [
    "--dtype", "float32", "--enforce-eager", "--generation-config", "vllm", "--logprobs-mode", "processed_logprobs",
    # As in vllm_engine.py: a seeded request whose prompt is split crashes vLLM's CPU runner.
    "--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192", "--max-num-seqs", "32",
    "--kv-cache-memory-bytes", str(1 << 28),
]  # fmt: skip
QUIET = {"VLLM_NO_USAGE_STATS": "1", "TORCH_COMPILE_DISABLE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


@contextmanager
def vllm_server(folder, name, log, template):
    """A server of a model folder, the port it will listen on, and whether it has ended."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    own = ["--served-model-name", name, "--host", "127.0.0.1", "--port", str(port), "--chat-template", str(template)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*program, *own, *OPTIONS],
            env={**ENVIRONMENT, **QUIET}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield port, process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    """Servers of the tiny base and of a judge, which start side by side."""
    folder = tmp_path_factory.mktemp("servers")
    template = folder / "template.jinja"
    template.write_text(TEMPLATE)
    judge = constant_checkpoint(folder / "judge", ['{"verdict":', ' "correct"', "}"], context=8192)
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(vllm_server(model, name, folder / f"{name}.log", template))
            for name, model in (("tiny", TINY), ("judge", judge))
        }
        for name, (port, process) in started.items():
            deadline = time.monotonic() + 240
            while True:
                assert process.poll() is None and time.monotonic() < deadline, (folder / f"{name}.log").read_text()
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.2)
        yield {name: port for name, (port, _) in started.items()}


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """Held-out questions of the tiny base's task."""
    file = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    file.write_bytes(run_r1("prompts", "sum", "--split", "test", "--limit", "60", check=0).stdout)
    return file


def sampled(url, questions, *options):
    done = run_r1("sample", url, questions, "--template", "r1-zero", *options, check=0, timeout=300)
    return records(done.stdout), done.stderr.decode()


def test_a_line_that_drops_costs_no_sample_and_doubles_none(ports, questions):
    """5% of the requests lose their connection: the samples are those of an undisturbed run, each exactly once."""
    options = ("--questions", "20", "--group", "16", "--max-tokens", "48", "--seed", "7")
    undisturbed, said = sampled(f"http://127.0.0.1:{ports['tiny']}/v1", questions, *options)
    assert said == ""
    with DroppingProxy(ports["tiny"], every=EVERY) as proxy:
        rollouts, said = sampled(proxy.url, questions, *options)
    assert proxy.dropped >= 320 // EVERY
    assert said.count("\n") == 1 and "trying again" in said
    found = {(one["id"], one["group"]["index"]): one for one in rollouts}
    assert len(found) == len(rollouts) == 320
    expected = {(one["id"], one["group"]["index"]): one for one in undisturbed}
    for key, one in found.items():
        assert (one["completion"], one["finish"]) == (expected[key]["completion"], expected[key]["finish"])
        assert one["usage"] == expected[key]["usage"]
    groups = {key[0]: set() for key in found}
    for (name, _), one in found.items():
        groups[name].add(one["completion"])
    # The base answers many questions at once and alike; what matters is that seeds differ within a group.
    assert sum(map(len, groups.values())) > 10 * len(groups)


def test_a_rollout_is_what_the_server_says_it_drew(ports, questions):
    """Asked again with a rollout's seed, the server tells ids and log-probs: same text and end, our log-probs."""
    url = f"http://127.0.0.1:{ports['tiny']}/v1"
    rollouts, _ = sampled(url, questions, "--questions", "4", "--group", "4", "--max-tokens", "20", "--seed", "3")
    model = load_model(TINY, dtype=torch.float32, device="cpu")
    trainer, tokenizer = TorchTrainer(model, device="cpu"), Tokenizer.load(TINY)
    finishes = set()
    for one in rollouts:
        seed = seeds(3, 0, one["id"], 4)[one["group"]["index"]]
        text = templates.R1_ZERO.replace("{prompt}", one["prompt"])
        body = {
            "model": "tiny", "prompt": text, "temperature": 1.0, "top_p": 1.0, "max_tokens": 20, "seed": seed,
            "logprobs": 0, "return_token_ids": True,
        }  # fmt: skip
        request = urllib.request.Request(
            f"{url}/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        (choice,) = json.load(urllib.request.urlopen(request, timeout=60))["choices"]
        assert (choice["text"], choice["finish_reason"]) == (one["completion"], one["finish"])
        assert one["usage"] == {
            "prompt_tokens": len(choice["prompt_token_ids"]), "completion_tokens": len(choice["token_ids"])
        }  # fmt: skip
        assert choice["prompt_token_ids"] == tokenizer.encode(text, True)
        assert tokenizer.decode(choice["token_ids"]).startswith(one["completion"])
        (own,) = trainer.score([(choice["prompt_token_ids"], choice["token_ids"], 1.0)])
        assert choice["logprobs"]["token_logprobs"] == pytest.approx(own, abs=1e-4)
        finishes.add(one["finish"])
    assert finishes == {"stop", "length"}


def test_an_evaluation_over_a_line_that_drops_is_the_one_at_home(ports, questions):
    """The same base, the same questions: pass@1 by URL and in this process differ by chance only, none is missing."""
    options = (questions, "-k", "8", "--template", "r1-zero", "--max-tokens", "96", "--temperature", "0.6")
    with DroppingProxy(ports["tiny"], every=EVERY) as proxy:
        (there,) = records(run_r1("eval", proxy.url, *options, check=0, timeout=300).stdout)
        assert proxy.dropped >= 480 // EVERY
    (here,) = records(run_r1("eval", "tiny", *options, check=0, timeout=300).stdout)
    assert there["samples"] == here["samples"] == 480
    # Five standard errors of the difference.
    assert abs(there["pass@1"] - here["pass@1"]) < 5 * (there["stderr"] ** 2 + here["stderr"] ** 2) ** 0.5
    assert 0.1 < there["pass@1"] < 0.5


def test_a_judge_behind_a_line_that_drops_judges_everything(ports):
    """Verdicts of a real server, by its chat template: one for each record, in the order of the records."""
    answers = [
        {"id": f"q{i}", "prompt": "2+2?", "answer": "4", "completion": f"<answer>{i}</answer>"} for i in range(60)
    ]
    stdin = "".join(json.dumps(one) + "\n" for one in answers).encode()
    with DroppingProxy(ports["judge"], every=EVERY) as proxy:
        done = run_r1("reward", "--judge", proxy.url, stdin=stdin, check=0, timeout=300)
        assert proxy.dropped >= 60 // EVERY
    judged = records(done.stdout)
    assert [one["id"] for one in judged] == [one["id"] for one in answers]
    assert [one["rewards"]["judge"] for one in judged] == [1.0] * 60
    assert {one["reward_info"]["judge"]["judge"] for one in judged} == {"judge"}


def test_distilling_from_a_server_over_a_line_that_drops(ports, questions, tmp_path):
    """Prompts in, a trained student out: every sample of the teacher is there once, and what is learnt is right."""
    options = ("--sample", "--group 4 --template r1-zero --max-tokens 48 --seed 7", "--epochs", "2")
    with DroppingProxy(ports["tiny"], every=EVERY) as proxy:
        command = ("distill", "tiny", questions, "--out", tmp_path / "run", "--teacher", proxy.url, *options)
        done = run_r1(*command, check=0, timeout=300)
        assert proxy.dropped >= 240 // EVERY
    rollouts, kept = (records((tmp_path / "run.work" / f"{name}.jsonl").read_bytes()) for name in ("rollouts", "kept"))
    assert len({(one["id"], one["group"]["index"]) for one in rollouts}) == len(rollouts) == 240
    assert 0 < len(kept) < 240 and all(one["rewards"]["accuracy"] == 1 for one in kept)
    metrics = records(done.stdout)
    assert sum(record["samples"] for record in metrics) == 2 * len(kept)
    assert "trying again" in done.stderr.decode()
