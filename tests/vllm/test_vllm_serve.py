"""The whole pipe with --sampler vllm: real processes on the shipped base."""

import json
import os
import resource
import signal
from pathlib import Path

import pytest
from conftest import run_r1, shell
from residents import batch, ended, home, judge, kill_backend, one_line, records, status, step_of, wait_for

from r1cli.backend import vllm_weights
from r1cli.backend.base import EngineOptions
from r1cli.backend.engine import Engine, EngineLost
from r1cli.records import collect
from r1cli.runs import Run
from r1cli.stream import parse

# The engine and the trainer compute the same in fp32.
CLOSE = 1e-4


def test_sampling_alone(run):
    """One command, its own engine: only records on stdout, nothing on stderr, and top-p marks its log-probs."""
    done = run_r1("sample", run, "--sampler", "vllm", "--questions", "3", "--group", "4", "--top-p", "0.9", check=0)
    found = records(done.stdout)
    assert done.stderr == b""
    assert len(found) == 12
    assert {record["sampling"]["engine"] for record in found} == {"vllm"}
    assert {record["sampling"]["logprobs"] for record in found} == {"truncated"}
    judged = judge(done.stdout)
    refused = run_r1("grpo-step", "--old-logprobs", "sampler", stdin=judged)
    assert refused.returncode == 2 and b"truncated" in refused.stderr and step_of(run) == 0
    (update,) = records(run_r1("grpo-step", stdin=judged, check=0).stdout)
    assert update["logprob_gap_max"] is None and update["ratio_max"] == pytest.approx(1, abs=1e-6)


def test_the_pipe_trains_and_survives_a_killed_engine(run):
    """Updates through a resident backend: the engine follows each one; kill -9 takes no step that was saved."""
    run_r1("serve", run, "--sampler", "vllm", "--detach", check=0)
    try:
        assert status(run)["sampler"] == "vllm"
        loop = "r1 sample -q run | r1 reward -q --format --accuracy | r1 grpo-step -q --lr 1e-3"
        done = shell(f"set -euo pipefail; for i in 1 2 3 4 5 6 7 8; do {loop}; done", cwd=run.parent)
        assert done.returncode == 0, done.stderr
        updates = [json.loads(line) for line in done.stdout.splitlines()]
        assert [update["step"] for update in updates] == list(range(1, 9))
        assert max(update["logprob_gap_sync"] for update in updates) < CLOSE
        assert max(update["logprob_gap_max"] for update in updates) < CLOSE
        assert updates[0]["grad_norm"] > 0
        rewards = [update["reward"] for update in updates]
        assert sum(rewards[-3:]) > sum(rewards[:3])
        (summary,) = records(run_r1("eval", run, "-k", "2", "--questions", "20", check=0).stdout)
        assert summary["samples"] == 40
        refused = run_r1("sample", run, "--sampler", "torch")
        assert refused.returncode == 2 and b"give --sampler to r1 serve" in refused.stderr
        rewarded = batch(run, "--questions", "2")
        kill_backend(run)
        assert "is gone" in one_line(run_r1("grpo-step", stdin=rewarded, check=1))
        assert step_of(run) == 8
        run_r1("serve", run, "--sampler", "vllm", "--detach", check=0)
        (after,) = records(run_r1("grpo-step", stdin=rewarded, check=0).stdout)
        assert (after["step"], after["logprob_gap_sync"] < CLOSE) == (9, True)
    finally:
        run_r1("serve", run, "--stop")


def test_adapters_reach_the_engine_merged(tmp_path):
    """A run of LoRA adapters: after each update the engine samples from base plus adapters, as the trainer does."""
    run = tmp_path / "run"
    run_r1("init", run, "--lora", "4", "--seed", "3", check=0)
    run_r1("serve", run, "--sampler", "vllm", "--detach", check=0)
    try:
        for step in (1, 2):
            rewarded = batch(run, "--questions", "4")
            (update,) = records(run_r1("grpo-step", "--lr", "0.01", stdin=rewarded, check=0).stdout)
            assert update["step"] == step and update["grad_norm"] > 0
            assert update["logprob_gap_sync"] < CLOSE and update["logprob_gap_max"] < CLOSE
    finally:
        run_r1("serve", run, "--stop")


def test_a_stale_engine_ends_the_backend_and_not_the_run(run, monkeypatch):
    """An update whose weights do not arrive is thrown away with the process; the run stays where it was saved."""
    opened = Run.open(run)
    engine = Engine(opened.latest(), opened, EngineOptions(sampler="vllm", threads=1), print)
    try:
        engine.start()
        rewarded = batch(run, "--questions", "2").splitlines(keepends=True)
        lines = [(line, f"stdin:{number}") for number, line in enumerate(rewarded, 1)]
        with monkeypatch.context() as patch:
            patch.setattr(vllm_weights, "_tensors", lambda model: iter(list(model.named_parameters())[1:]))
            with pytest.raises(EngineLost, match=r"embed_tokens\.weight did not come") as caught:
                engine.grpo_step(collect(lines, parse), {})
        assert "\n" not in str(caught.value)
    finally:
        engine.close()
    assert step_of(run) == 0 and not (run / "metrics.jsonl").exists()
    run_r1("grpo-step", stdin=b"".join(rewarded), check=0)
    assert step_of(run) == 1


def engine_processes(run):
    """The processes of a backend's engines."""
    children = Path(f"/proc/{home(run)['pid']}/task").glob("*/children")
    return [int(pid) for file in children for pid in file.read_text().split()]


def test_lost_engines_end_the_backend_and_not_the_run(run):
    """Two engines train as one does. One that is killed while nobody asks ends the backend at once; one that runs out
    of memory ends it when it samples; each time with one line, no process left, and the run where it was.
    """
    serve = ("serve", run, "--sampler", "vllm", "--engines", "2", "--detach")
    try:
        run_r1(*serve, check=0)
        rewarded = batch(run)
        (update,) = records(run_r1("grpo-step", stdin=rewarded, check=0).stdout)
        assert (update["step"], update["logprob_gap_sync"] < CLOSE, update["logprob_gap_max"] < CLOSE) == (
            1,
            True,
            True,
        )
        engines, backend = engine_processes(run), home(run)["pid"]
        assert len(engines) == 2
        os.kill(engines[0], signal.SIGKILL)
        wait_for(lambda: all(map(ended, [*engines, backend])), 60, pause=0.01)
        last = (run / "serve.log").read_text().splitlines()[-1]
        assert last.startswith("r1 serve: vLLM's engine ") and "was killed by SIGKILL" in last

        run_r1(*serve, check=0)
        assert status(run)["step"] == 1
        engines, backend = engine_processes(run), home(run)["pid"]
        for engine in engines:
            size = int(Path(f"/proc/{engine}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(engine, resource.RLIMIT_AS, (size, size))
        said = one_line(run_r1("sample", run, "--questions", "16", check=1))
        assert "vLLM failed: " in said  # oneDNN, torch and malloc have each their own words for it
        wait_for(lambda: all(map(ended, [*engines, backend])), 60, pause=0.01)
        assert step_of(run) == 1
        assert "vLLM failed: " in (run / "serve.log").read_text().splitlines()[-1]
        run_r1("serve", run, "--stop", check=0)  # clears up after it, so that commands go on in processes of their own
        (after,) = records(run_r1("grpo-step", stdin=batch(run), check=0).stdout)
        assert after["step"] == 2
    finally:
        run_r1("serve", run, "--stop")


def test_devices_that_do_not_share_the_heads_are_refused(run):
    """Before anything is started, in the words of the options."""
    said = one_line(run_r1("sample", run, "--sampler", "vllm", "--tensor-parallel", "2", "--questions", "1", check=2))
    assert "--tensor-parallel 2 does not divide the model's 3 attention heads" in said
