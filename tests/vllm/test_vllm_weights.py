"""Weights pushed into a running engine: equal to Hugging Face's before and after, and every way to get them wrong."""

import engines
import pytest
import torch
from sampling_work import groups, run

from r1cli.backend import vllm_weights
from r1cli.backend.vllm_worker import WeightReceiver, seal
from r1cli.errors import R1Error


@pytest.fixture(scope="module", params=engines.SIZES)
def bench(request, tmp_path_factory):
    """One architecture after the other: an engine for each."""
    made = engines.build(tmp_path_factory.mktemp(request.param), request.param)
    yield made
    made.sampler.close()


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """The architecture with a tied head, for the faults."""
    made = engines.build(tmp_path_factory.mktemp("tied"), "qwen2")
    made.sampler.start()
    yield made
    made.sampler.close()


def test_logprobs_equal_hugging_face_before_and_after_an_update(bench):
    """Prompts of many lengths, two temperatures; after an update in place the samples are those of the new weights."""
    work = groups()
    before = run(bench.sampler, work)
    assert bench.worst(work, before) < 1e-4
    bench.update()
    assert bench.worst(work, before) > 0.1, "the update is too small to tell old weights from new ones"
    assert bench.sampler.sync() < 1e-4
    after = run(bench.sampler, work)
    assert bench.worst(work, after) < 1e-4
    assert [s.ids for s in after[5]] != [s.ids for s in before[5]]


def test_weights_that_changed_are_pushed_without_being_asked(bench):
    """Whoever changes the model and forgets to sync still samples from what the model is."""
    work = groups(3, 2)
    run(bench.sampler, work)
    bench.update(seed=2)
    assert not bench.sampler.weights.held_of(bench.model)
    assert bench.worst(work, run(bench.sampler, work)) < 1e-4


# Faults: what goes wrong, which safeguard sees it, and how that safeguard is taken away


def drop_one(monkeypatch):
    sent = vllm_weights._tensors
    monkeypatch.setattr(
        vllm_weights, "_tensors", lambda model: (pair for pair in sent(model) if "layers.1.mlp.down" not in pair[0])
    )


def change_one(monkeypatch):
    sent = vllm_weights._tensors

    def changed(model):
        for name, tensor in sent(model):
            yield name, tensor.flip(0) if "layers.0.self_attn.o_proj" in name else tensor

    monkeypatch.setattr(vllm_weights, "_tensors", changed)


def stale_head(monkeypatch):
    monkeypatch.setattr(WeightReceiver, "r1_repack_head", lambda self: None)


def keep_cache(monkeypatch):
    from vllm.v1.engine.llm_engine import LLMEngine

    monkeypatch.setattr(LLMEngine, "reset_prefix_cache", lambda *arguments: True)


def keep_weights(monkeypatch):
    """The engine says that it took everything, and computes with what it had."""
    from vllm.v1.worker.gpu_worker import Worker

    monkeypatch.setattr(Worker, "reload_weights", lambda self, weights_iterator: list(weights_iterator))


def no_count(monkeypatch):
    def take(self, tensors, expected, version):
        self.reload_weights(weights_iterator=iter(tensors))
        self.r1_repack_head()
        self.r1_held = version

    monkeypatch.setattr(WeightReceiver, "r1_take", take)
    no_check(monkeypatch)


def no_check(monkeypatch):
    monkeypatch.setattr(vllm_weights, "GAP_LIMITS", {torch.float32: float("inf")})


FAULTS = {
    "a dropped tensor": (drop_one, no_count, r"layers\.1\.mlp\.down_proj\.weight did not come \(\d+ of \d+ did\)"),
    "a changed tensor": (change_one, no_count, r"layers\.0\.self_attn\.o_proj\.weight came as"),
    "a stale tied head": (stale_head, no_check, "does not compute with the weights that it was given"),
    "a kept prefix cache": (keep_cache, no_check, "does not compute with the weights that it was given"),
    "weights that stay": (keep_weights, no_check, "does not compute with the weights that it was given"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_stops_the_run_and_without_its_safeguard_samples_are_wrong(tied, monkeypatch, name):
    """Each fault is refused in one line, leaves nothing to sample from, and is a real one: unguarded it gives wrong
    log-probabilities.
    """
    fault, unguard, message = FAULTS[name]
    work = groups(6, 2)
    assert tied.worst(work, run(tied.sampler, work)) < 1e-4
    tied.update(seed=len(name))
    with monkeypatch.context() as patch:
        fault(patch)
        with pytest.raises(R1Error, match=message) as caught:
            tied.sampler.sync()
        assert "\n" not in str(caught.value)
        with pytest.raises(R1Error, match=message):
            run(tied.sampler, work)
        assert not tied.sampler.busy
        tied.update(seed=len(name) + 1)
        unguard(patch)
        assert tied.worst(work, run(tied.sampler, work)) > 0.05
    assert tied.sampler.sync() < 1e-4
    assert tied.worst(work, run(tied.sampler, work)) < 1e-4


def test_a_version_that_is_not_the_last_is_stale(tied):
    """The version is set last, so an engine that was loaded half-way has none."""
    tied.sampler.sync()
    worker = tied.sampler.engine._llm.model_executor.driver_worker.worker
    for held in (None, worker.r1_held - 1):
        worker.r1_held = held
        with pytest.raises(R1Error, match=f"holds weights of version {held}.*stale"):
            run(tied.sampler, groups(1, 1))
    tied.sampler.sync()
    run(tied.sampler, groups(1, 1))


def test_weights_may_not_change_under_way(tied):
    """Half a sample of each of two policies is of neither."""
    (group,) = groups(1, 2, max_tokens=30)
    tied.sampler.add(group)
    tied.sampler.step()
    tied.update(seed=5)
    with pytest.raises(R1Error, match="changed while vLLM was sampling"):
        tied.sampler.step()
    assert not tied.sampler.busy
    assert tied.worst([group], run(tied.sampler, [group])) < 1e-4


def test_the_engine_has_a_copy_of_its_own(tied):
    """An update in the trainer's memory must not reach the engine by itself, half of it at a time."""
    work = groups(2, 2)
    tied.sampler.sync()
    first = run(tied.sampler, work)
    kept = [parameter.detach().clone() for parameter in tied.model.parameters()]
    with torch.no_grad():
        for parameter in tied.model.parameters():
            parameter.data.mul_(0.0)
    tied.sampler.weights.held = vllm_weights.stamp(tied.model)
    again = run(tied.sampler, work)
    with torch.no_grad():
        for parameter, value in zip(tied.model.parameters(), kept, strict=True):
            parameter.copy_(value)
    for key, samples in first.items():
        assert [sample.ids for sample in samples] == [sample.ids for sample in again[key]]


def test_damaged_weights_are_reported(tied):
    """NaN is no small gap."""
    good = tied.model.model.norm.weight.detach().clone()
    with torch.no_grad():
        tied.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(R1Error):
        tied.sampler.sync()
    with torch.no_grad():
        tied.model.model.norm.weight.copy_(good)
    assert tied.sampler.sync() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_seal_tells_tensors_apart(dtype):
    """One bit, the order of elements, of rows, the shape and the dtype all count."""
    tensor = torch.randn(3000, 1000).to(dtype)
    other = tensor.clone()
    other[2999, 999] = -other[2999, 999]
    assert seal(tensor) == seal(tensor.clone())
    found = {seal(t) for t in (tensor, other, tensor.roll(1, 1), tensor.roll(1, 0), tensor.T, tensor.half())}
    assert len(found) == 6
