"""On-policy distillation of a run: what it learns, how it goes on, and that both homes of the backend do the same."""

import itertools
import shutil

import pytest
import torch
from conftest import run_r1
from remote_server import FakeServer, Reply, text
from residents import records
from sft_work import sums, training, weights

from r1cli.backend import onpolicy
from r1cli.backend.base import EngineOptions
from r1cli.backend.checkpoint import load_model, read_config
from r1cli.backend.engine import Engine
from r1cli.backend.tokenizer import Tokenizer
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.errors import InputError
from r1cli.prompts.sources import read_prompts
from r1cli.runs import Run, locate

TINY = str(locate("tiny")[0].resolve())
SETTINGS = {"batch": 32, "lr": 1e-3, "epochs": 2}
SAMPLING = {"group": 4, "max_tokens": 40}


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """The tiny base, led astray by 64 wrong answers: what its teacher, the base, has to put right; with prompts."""
    folder = tmp_path_factory.mktemp("student")
    command = ("sft", "tiny", "--out", folder / "run", "--lr", "3e-3", "--epochs", "1", "--batch", "8")
    run_r1(*command, stdin=sums(64, wrong=True), check=0)
    (folder / "prompts.jsonl").write_bytes(run_r1("prompts", "sum", "--limit", "40", check=0).stdout)
    return folder


@pytest.fixture
def copy(student, tmp_path):
    """Copies of the student's run."""
    return lambda name: shutil.copytree(student / "run", tmp_path / name, symlinks=True)


@pytest.fixture(scope="module")
def whole(student):
    """A training from its beginning to its end: the run and its metrics."""
    run = shutil.copytree(student / "run", student / "whole", symlinks=True)
    return run, list(updates(run, student / "prompts.jsonl"))


def updates(folder, prompts, **handling):
    """The training on an engine in this process, update by update."""
    run, said = Run.open(folder), []
    request = {"settings": SETTINGS, "sampling": SAMPLING, "teaching": {"teacher": TINY}, "recipe": "distill"}
    with run.lock():
        engine = Engine(run.latest(), run, EngineOptions(), said.append)
        yield from onpolicy.train(engine, list(read_prompts([prompts])), {**request, **handling})


def test_the_student_comes_nearer_to_its_teacher(student, whole):
    """The reverse KL of its own samples falls by half and more in 5 updates an epoch of 8 prompts x 4 samples."""
    run, found = whole
    assert [record["samples"] for record in found] == [32] * 10 and found[-1]["step"] == found[0]["step"] + 9
    before, after = found[0]["reverse_kl"], sum(record["reverse_kl"] for record in found[-3:]) / 3
    assert 0 < after < before / 2
    assert all(record["length_mean"] <= 40 and 0 <= record["truncated"] <= 1 for record in found)
    assert training(run)["finished"] and training(run)["settings"]["teacher"] == TINY
    again = list(updates(run, student / "prompts.jsonl"))
    assert [record["step"] for record in again] == [record["step"] for record in found]


def test_it_goes_on_in_the_middle(student, whole, copy):
    """Stopped after three updates, and after a crash that lost one: the weights are those of one that never stopped."""
    parts = copy("parts")
    begun = updates(parts, student / "prompts.jsonl")
    for _ in range(3):
        next(begun)
    begun.close()
    assert training(parts)["updates"] == 3
    crashed = updates(parts, student / "prompts.jsonl")
    next(crashed)
    # Neither closed nor at an epoch's end, so not saved: a copy is what a crash leaves.
    left = shutil.copytree(parts, parts.with_name("left"), symlinks=True)
    crashed.close()
    assert (training(left)["updates"], training(parts)["updates"]) == (3, 4)
    list(updates(left, student / "prompts.jsonl"))
    assert weights(left) == weights(whole[0])


def test_a_resident_backend_does_the_same(student, whole, copy):
    """The same metrics and weights by the program on a served run as in this process."""
    served = copy("served")
    run_r1("serve", served, "--detach", check=0)
    try:
        done = run_r1(
            "distill", served, student / "prompts.jsonl", "--teacher", "tiny", "--on-policy", "--batch", "32",
            "--lr", "1e-3", "--epochs", "2", "--sample", "--group 4 --max-tokens 40", check=0,
        )  # fmt: skip
    finally:
        run_r1("serve", served, "--stop", check=0)
    found, expected = ([{**one, "seconds": None} for one in each] for each in (records(done.stdout), whole[1]))
    assert found == expected
    assert weights(served) == weights(whole[0])


def test_a_teacher_behind_a_url(student, whole, copy):
    """A server that tells log-probs of given tokens, over a line that drops, gives the losses of the same teacher here;
    one that tells none, or cuts texts otherwise, is refused before a run is made.
    """
    trainer = TorchTrainer(load_model(TINY, dtype=torch.float32, device="cpu"))
    tokenizer = Tokenizer.load(TINY)
    others = {"silent": False, "foreign": False}

    def answer(request):
        if request.number % 20 == 19:
            return Reply(b"{}", cut=0)
        prompt = request.body["prompt"]
        ids = tokenizer.encode(prompt, True) if isinstance(prompt, str) else prompt
        (scores,) = trainer.score([(ids[:1], ids[1:], 1.0)])
        told = [None, *({str(token): {"logprob": score}} for token, score in zip(ids[1:], scores, strict=True))]
        more = {} if others["silent"] else {"prompt_logprobs": told, "prompt_token_ids": ids[others["foreign"] :]}
        return text("", **more)

    with FakeServer(answer) as server:
        teaching = {"teacher": server.url, "model": "fake"}
        far = list(itertools.islice(updates(copy("far"), student / "prompts.jsonl", teaching=teaching), 2))
        assert [one["loss"] for one in far] == pytest.approx([one["loss"] for one in whole[1][:2]], rel=1e-4)
        assert len(server.requests) >= 65
        for name, words in (("silent", "tells no token ids and log-probs"), ("foreign", "another tokenizer")):
            others[name] = True
            with pytest.raises(InputError, match=words):
                next(updates(copy(name), student / "prompts.jsonl", teaching=teaching))
            others[name] = False


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"sampling": {"temperature": 0.6}}, "temperature 1 and top-p 1, not 0.6 and 1"),
        ({"sampling": {"max_tokens": 0}}, "must be at least 1"),
        ({"settings": {"warmup_steps": 40}}, "only 20 updates"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_run_is_made(student, request_, words):
    """Whatever can be known of settings and prompts without a model is known."""
    run, folder = Run.open(student / "run"), locate("tiny")[0]
    prompts = list(read_prompts([student / "prompts.jsonl"]))
    asked = {"settings": {"batch": 640}, "sampling": SAMPLING, "teaching": {"teacher": TINY}, **request_}
    with pytest.raises(InputError, match=words):
        onpolicy.read_work(run, Tokenizer.load(folder), read_config(folder), prompts, asked, print)
