"""How a sample ends: end tokens, stop strings, max_tokens and the context."""

import json

import models
import pytest
import torch
from sampling_work import groups, run, with_ends

from r1cli.backend.checkpoint import load_model
from r1cli.backend.sampler_torch import Group, SamplingParams, TorchSampler
from r1cli.backend.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """kind -> (nothing, model, tokenizer)."""
    made = {}
    for kind in ("qwen2", "qwen3", "llama"):
        folder = tmp_path_factory.mktemp(kind)
        models.write_checkpoint(folder, kind)
        made[kind] = None, load_model(folder, dtype=torch.float32, device="cpu"), Tokenizer.load(folder)
    return made


def test_several_end_tokens(checkpoints):
    """A sample ends with the first of any end token, keeps it, and is what it would have been up to there."""
    _, model, tokenizer = checkpoints["qwen3"]
    work = groups(4, 4, max_tokens=60)
    free = run(TorchSampler(model, with_ends(tokenizer)), work)
    common = sorted({token for sample in free[0] for token in sample.ids[5:]})[:12]
    done = run(TorchSampler(model, with_ends(tokenizer, *common), slots=5), work)
    finishes = set()
    for key, samples in done.items():
        for sample, unbounded in zip(samples, free[key], strict=True):
            end = next((at for at, token in enumerate(unbounded.ids) if token in common), None)
            assert sample.ids == (unbounded.ids if end is None else unbounded.ids[: end + 1])
            assert sample.finish == ("length" if end is None else "stop")
            assert len(sample.logprobs) == len(sample.ids)
            finishes.add(sample.finish)
    assert finishes == {"stop", "length"}


def test_end_token_as_the_last_one_allowed_counts_as_stop(checkpoints):
    """max_tokens and the end token on the same token: the text is whole."""
    _, model, tokenizer = checkpoints["qwen2"]
    group = Group(0, [8, 9, 10], [77], SamplingParams(max_tokens=7))
    ids = run(TorchSampler(model, with_ends(tokenizer)), [group])[0][0].ids
    assert ids[-1] not in ids[:-1], "choose another seed: the last token must be new"
    assert run(TorchSampler(model, with_ends(tokenizer, ids[-1])), [group])[0][0].finish == "stop"


def test_stop_strings(checkpoints):
    """A sample ends with the token that completes a stop string; groups without one are not touched."""
    _, model, tokenizer = checkpoints["qwen2"]
    bare = with_ends(tokenizer)
    work = groups(4, 4, max_tokens=50, temperature=1.0)
    free = run(TorchSampler(model, bare), work)
    # Strings that do occur, each across the border of two tokens.
    stops = []
    for sample in free[1][:2]:
        left, right = bare.decode(sample.ids[20:21]), bare.decode(sample.ids[20:22])
        stops.append(right[max(0, len(left) - 2) :])
    stops = tuple(stop for stop in stops if "�" not in stop)
    assert stops
    stopping = [
        Group(group.key, group.prompt_ids, group.seeds, SamplingParams(1.0, 1.0, 50, stops if group.key % 2 else ()))
        for group in work
    ]
    done = run(TorchSampler(model, bare, slots=6), stopping)
    hits = 0
    for group in stopping:
        for sample, unbounded in zip(done[group.key], free[group.key], strict=True):
            texts = [bare.decode(unbounded.ids[: end + 1]) for end in range(len(unbounded.ids))]
            end = next((at for at, text in enumerate(texts) if any(stop in text for stop in group.params.stop)), None)
            assert sample.ids == (unbounded.ids if end is None else unbounded.ids[: end + 1])
            assert sample.finish == ("length" if end is None else "stop")
            hits += end is not None
    assert hits >= len(stops)


def test_limits(checkpoints):
    """max_tokens ends a sample with "length"; so does the context, prompt included, here lowered by the caller."""
    _, model, tokenizer = checkpoints["llama"]
    bare = with_ends(tokenizer)
    work = [
        Group("max", [3] * 10, [1, 2], SamplingParams(max_tokens=1)),
        Group("context", [3] * 10, [1, 2], SamplingParams(max_tokens=10**6)),
        Group("tight", [3] * 39, [1, 2], SamplingParams(max_tokens=10**6)),
    ]
    done = run(TorchSampler(model, bare, max_context=40), work)
    found = {key: [(len(sample.ids), sample.finish) for sample in samples] for key, samples in done.items()}
    assert found == {"max": [(1, "length")] * 2, "context": [(30, "length")] * 2, "tight": [(1, "length")] * 2}


def test_end_tokens_come_from_the_folder(tmp_path):
    """generation_config.json's list rules the sampler through the tokenizer."""
    models.write_checkpoint(tmp_path, "llama")
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": list(range(3, 160))}))
    tokenizer = Tokenizer.load(tmp_path)
    model = load_model(tmp_path, dtype=torch.float32, device="cpu")
    samples = run(TorchSampler(model, tokenizer), [Group(0, [200], list(range(20)), SamplingParams(max_tokens=60))])[0]
    for sample in samples:
        assert sample.finish == "stop" and 3 <= sample.ids[-1] < 160
        assert not any(3 <= token < 160 for token in sample.ids[:-1])
