"""Engines in processes of their own: several, over several devices, beside a torch.distributed group; their ends."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import engines
import pytest
import torch
from conftest import ENVIRONMENT
from residents import ended, wait_for
from sampling_work import groups, run, with_ends

from r1cli.backend import vllm_weights
from r1cli.backend.sampling import Group, SamplingParams
from r1cli.backend.vllm_engine import VllmEngine
from r1cli.backend.vllm_fleet import VllmFleet
from r1cli.errors import R1Error

KINDS = {
    "two engines": {"engines": 2},
    "two devices": {"tensor_parallel": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


@pytest.fixture(scope="module")
def alone(folder):
    """One engine in this process: what the others are held against."""
    made = engines.build(folder / "alone", "qwen3")
    made.sampler.start()
    yield made
    made.sampler.close()


@pytest.fixture(scope="module", params=KINDS)
def fleet(request, folder):
    made = engines.build(folder / request.param.replace(" ", "-"), "qwen3", slots=8, **KINDS[request.param])
    made.sampler.start()
    yield made
    made.sampler.close()


def processes(sampler):
    """The engines' processes and their workers."""
    found = []
    for pid in sampler.engine.pids:
        children = Path(f"/proc/{pid}/task").glob("*/children")
        found += [pid, *(int(child) for file in children for child in file.read_text().split())]
    return found


def ids_of(done):
    return {key: [sample.ids for sample in samples] for key, samples in done.items()}


def test_samples_are_those_of_one_engine_before_and_after_an_update(fleet, alone):
    """Groups come out whole, with Hugging Face's log-probabilities, and in each engine from the new weights."""
    work = groups(8, 4)
    before = run(fleet.sampler, work)
    assert fleet.worst(work, before) < 1e-4
    assert ids_of(before) == ids_of(run(alone.sampler, work))
    fleet.update()
    assert fleet.worst(work, before) > 0.1, "the update is too small to tell old weights from new ones"
    assert fleet.sampler.sync() < 1e-4
    after = run(fleet.sampler, work)
    assert fleet.worst(work, after) < 1e-4
    assert ids_of(after) != ids_of(before)
    assert fleet.sampler.engine._owners == {}
    assert [child.load for child in fleet.sampler.engine._children] == [0] * fleet.sampler.engine.engines


def test_groups_go_where_there_is_least_to_do_and_the_rest_waits(fleet, monkeypatch):
    """Every engine works, none gets more groups than it can begin, and nothing is sampled twice."""
    given = []
    add = VllmFleet.add

    def watched(self, requests, version):
        loads = [child.load for child in self._children]
        add(self, requests, version)
        given.append((self._children.index(self._owners[requests[0].name]), loads))

    monkeypatch.setattr(VllmFleet, "add", watched)
    monkeypatch.setattr(fleet.sampler, "tokenizer", with_ends(fleet.tokenizer))
    done = run(fleet.sampler, groups(12, 4, max_tokens=20))
    assert len(given) == len(done) == 12
    for chosen, loads in given:
        assert loads[chosen] == min(loads) < fleet.sampler.slots
    assert {chosen for chosen, _ in given} == set(range(fleet.sampler.engine.engines))


def test_no_sample_comes_twice(fleet, monkeypatch):
    """The same prompt in every group, at temperature 1: each sample is another one, whichever engine drew it."""
    monkeypatch.setattr(fleet.sampler, "tokenizer", with_ends(fleet.tokenizer))
    work = [
        Group(number, [5, 6, 7], [number * 1000 + place for place in range(8)], SamplingParams(max_tokens=24))
        for number in range(12)
    ]
    drawn = [tuple(sample.ids) for samples in run(fleet.sampler, work).values() for sample in samples]
    assert len(drawn) == len(set(drawn)) == 96


def test_stop_strings_and_cancelling(fleet, monkeypatch):
    """Samples that end here are ended there: what has gone on by a token is not taken for another sample's."""
    monkeypatch.setattr(fleet.sampler, "tokenizer", with_ends(fleet.tokenizer))
    work = groups(4, 4, max_tokens=40, temperature=1.0)
    free = run(fleet.sampler, work)
    stop = next(
        text
        for place in range(20, 39)
        if "\ufffd" not in (text := fleet.tokenizer.decode(free[1][0].ids[place : place + 1])) and text
    )
    stopping = [Group(g.key, g.prompt_ids, g.seeds, SamplingParams(1.0, 1.0, 40, (stop,))) for g in work]
    for group in stopping:
        fleet.sampler.add(group)
    fleet.sampler.step()
    fleet.sampler.cancel(2)
    done = {}
    while fleet.sampler.busy:
        done |= {group.key: samples for group, samples in fleet.sampler.step()}
    assert set(done) == {0, 1, 3}
    for key, samples in done.items():
        for sample, unbounded in zip(samples, free[key], strict=True):
            texts = [fleet.tokenizer.decode(unbounded.ids[: end + 1]) for end in range(len(unbounded.ids))]
            end = next((at for at, text in enumerate(texts) if stop in text), None)
            assert sample.ids == (unbounded.ids if end is None else unbounded.ids[: end + 1])
    assert any(sample.finish == "stop" for samples in done.values() for sample in samples)
    assert fleet.sampler.engine._owners == {}


def test_weights_that_do_not_arrive_whole_are_refused_by_every_engine(fleet, monkeypatch):
    """The checks are those of one engine, though the weights come through memory that processes share."""
    sent = vllm_weights._tensors
    work = groups(3, 2)
    faults = {
        r"layers\.1\.mlp\.down_proj\.weight did not come \(24 of 25 did\)": lambda model: (
            pair for pair in sent(model) if "layers.1.mlp.down" not in pair[0]
        ),
        r"layers\.0\.self_attn\.o_proj\.weight came as": lambda model: (
            (name, tensor.flip(0) if "layers.0.self_attn.o_proj" in name else tensor) for name, tensor in sent(model)
        ),
    }
    for message, fault in faults.items():
        fleet.update(seed=len(message))
        with monkeypatch.context() as patch:
            patch.setattr(vllm_weights, "_tensors", fault)
            for attempt in (fleet.sampler.sync, lambda: run(fleet.sampler, work)):
                with pytest.raises(R1Error, match=message) as caught:
                    attempt()
                assert "\n" not in str(caught.value)
            assert not fleet.sampler.busy
    assert fleet.worst(work, run(fleet.sampler, work)) < 1e-4


def test_memory_that_runs_out_on_the_way_is_reported(fleet, monkeypatch):
    """Packing takes as much memory as the weights have: where it is not there, one line says so."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError(12, "Cannot allocate memory")))
        with pytest.raises(R1Error, match="could not be packed for vLLM: Cannot allocate memory"):
            fleet.sampler.sync()
    assert fleet.sampler.sync() < 1e-4


def test_nothing_is_left_of_the_weights_or_of_what_workers_share(fleet):
    """The parcel's memory goes when it is delivered, and no name stays in /dev/shm, whatever kills the processes."""
    fleet.sampler.sync()
    mapped = [line for pid in processes(fleet.sampler) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    assert any("libtorch" in line for line in mapped)
    assert not [line for line in mapped if "r1-weights" in line]
    assert not list(Path("/dev/shm").glob("vllm_dist_*"))


def victim(sampler, kind):
    """The second engine, or a worker of the only one."""
    return processes(sampler)[-1] if kind == "two devices" else sampler.engine.pids[1]


WORDS = {
    "two devices": "worker process of vLLM has died|vLLM failed",
    "two engines": "engine 2 of 2 .*SIGKILL, as the kernel does when memory runs out",
}


def test_a_process_killed_while_it_samples_ends_the_sampling(fleet, request):
    """The last test of these engines: kill -9 of an engine or of its worker is one line, and the others end too."""
    kind = request.node.callspec.params["fleet"]
    everyone = processes(fleet.sampler)
    for group in groups(6, 4, max_tokens=200):
        fleet.sampler.add(group)
    fleet.sampler.step()
    os.kill(victim(fleet.sampler, kind), signal.SIGKILL)
    with pytest.raises(R1Error, match=WORDS[kind]) as caught:
        while fleet.sampler.busy:
            fleet.sampler.step()
    assert "\n" not in str(caught.value) and not fleet.sampler.busy
    fleet.sampler.close()
    for pid in everyone:
        wait_for(lambda pid=pid: ended(pid), pause=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_killed_while_idle_is_noticed_at_once(folder, kind):
    """Nobody has to ask: whoever watches hears of it, and is then told what happened in one line."""
    bench = engines.build(folder / "idle", "qwen3", **KINDS[kind])
    heard = threading.Event()
    try:
        bench.sampler.start()
        bench.sampler.watch(heard.set)
        assert not heard.wait(1.5)
        os.kill(victim(bench.sampler, kind), signal.SIGKILL)
        assert heard.wait(30)
        with pytest.raises(R1Error, match=WORDS[kind]) as caught:
            bench.sampler.check()
        assert "\n" not in str(caught.value)
    finally:
        bench.sampler.close()


START = """
import sys, torch
from pathlib import Path
from r1cli.backend.checkpoint import load_model
from r1cli.backend.sampler_vllm import VllmSampler
from r1cli.backend.sampling import Group, SamplingParams
from r1cli.backend.tokenizer import Tokenizer
folder = Path(sys.argv[1])
torch.set_num_threads(1)
sampler = VllmSampler(load_model(folder, dtype=torch.float32, device="cpu"), Tokenizer.load(folder), folder, slots=8,
                      own_process=len(sys.argv) == 2)
"""
# A rank of a trainer: its own engine, while its group goes on working.
RANK = """
import torch.distributed as world
world.init_process_group("gloo")
""" + START + """
from r1cli.backend.vllm_fleet import VllmFleet
assert type(sampler.engine) is VllmFleet
sampler.start()
number = torch.tensor([world.get_rank() + 1.0])
world.all_reduce(number)
sampler.add(Group(0, [5, 6, 7], [world.get_rank()], SamplingParams(max_tokens=8)))
done = []
while sampler.busy:
    done += sampler.step()
sampler.close()
world.all_reduce(number)
world.destroy_process_group()
assert "vllm" not in sys.modules
print(number.item(), done[0][1][0].ids, flush=True)
"""  # fmt: skip


def test_ranks_of_a_trainer_have_engines_outside_of_their_group(alone, folder):
    """vLLM would take the trainer's group for its own: in its own process it is a world of one, and they never meet."""
    store = folder / "store"
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK.replace('"gloo"', f'"gloo", rank={rank}, '
             f'world_size=2, store=world.FileStore("{store}", 2)'), str(folder / "alone"), "rank"],
            env={**ENVIRONMENT, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [rank.communicate(timeout=180) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    assert said[0][0] != said[1][0] and {out.split()[0] for out, _ in said} == {"6.0"}


def test_an_engine_ends_with_its_parent(alone, folder):
    """kill -9 of the process that samples leaves no engine behind that would hold a GPU."""
    program = START + "sampler.start(); print(*sampler.engine.pids, flush=True); sys.stdin.read()"
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "alone")],
        env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with parent:
        (engine,) = map(int, parent.stdout.readline().split())
        assert not ended(engine)
        parent.kill()
    wait_for(lambda: ended(engine), pause=0.01)


def test_an_engine_that_does_not_start_is_one_line(folder, monkeypatch):
    """What vLLM refuses in its own process reaches the user as in ours, and no process stays."""
    bench = engines.build(folder / "refused", "qwen3", engines=2)
    monkeypatch.setattr(bench.sampler, "slots", -3)
    with pytest.raises(R1Error, match="vLLM did not start") as caught:
        bench.sampler.start()
    assert "\n" not in str(caught.value) and not bench.sampler.engine.running


def test_one_engine_in_this_process_is_the_default(alone):
    """No process more than needed, unless a group of this process is in the way."""
    assert type(alone.sampler.engine) is VllmEngine and not torch.distributed.get_world_size() > 1
