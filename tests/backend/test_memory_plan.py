"""The planner's formulas held against what torch really keeps: parameters, saved activations, the cache, adapters."""

import random

import pytest
import torch

from r1cli.backend import memory
from r1cli.backend.adapters import TARGETS, Lora
from r1cli.backend.kvcache import KVCache
from r1cli.backend.memory import Setup
from r1cli.backend.model import ModelConfig, Transformer
from r1cli.backend.packing import pack
from r1cli.backend.shapes import shape_of
from r1cli.backend.trainer_lora import LoraTrainer

SIZES = {
    "vocab_size": 64, "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip
KINDS = {
    "Qwen2ForCausalLM": {"tie_word_embeddings": True},
    "Qwen3ForCausalLM": {"tie_word_embeddings": False},
    "LlamaForCausalLM": {"tie_word_embeddings": False},
}
TOKENS = 301


def described(kind, **changes):
    return SIZES | KINDS[kind] | {"architectures": [kind]} | changes


def make(kind, dtype=torch.float32, **changes):
    torch.manual_seed(0)
    return Transformer(ModelConfig.from_dict(described(kind, **changes))).to(dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_counted_right(kind):
    """From the sizes in config.json, biases and norms included; also those of adapters."""
    shape = shape_of(described(kind), "config.json")
    assert shape.parameters == sum(p.numel() for p in make(kind).parameters())
    for name, targets in TARGETS.items():
        trainer = LoraTrainer(make(kind), Lora(5, 32.0, name))
        assert shape.adapters(5, targets) == sum(p.numel() for p in trainer.adapters.values())


def kept(model, autocast):
    """Bytes that a forward pass up to the hidden states keeps for backward: each storage once, weights aside."""
    draw = random.Random(0)
    micro = pack([[1]], [[draw.randrange(64) for _ in range(TOKENS)]], [0], [0])
    found, alive = {}, []
    weights = {(p.shape[0], p.shape[-1]) for p in model.parameters()}
    weights |= {shape[::-1] for shape in weights}

    def save(tensor):
        storage = tensor.untyped_storage()
        if tensor.is_floating_point() and tuple(tensor.shape) not in weights:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(storage)  # else its address would be given to another
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        model.hidden(micro.tokens, micro.positions, micro.attend)
    return sum(found.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["fp32", "bf16", "autocast", "lora fp32", "lora bf16"])
def test_activations(kind, mode):
    """What autograd keeps of the blocks, counted storage by storage: the formula within 2%."""
    narrow, lora = "fp32" not in mode, "lora" in mode
    # A GPU repeats the keys and values of grouped heads, and the CPU that stands for it here does not.
    heads = {"num_key_value_heads": SIZES["num_attention_heads"]} if narrow else {}
    model = make(kind, torch.bfloat16 if "bf16" in mode else torch.float32, **heads)
    setup = Setup(narrow=narrow, zero=1 if mode == "bf16" else None, micro_tokens=TOKENS)
    if lora:
        model = LoraTrainer(model, Lora(4, 32.0, "all-linear")).model
        setup = Setup(narrow=narrow, lora=4, targets=TARGETS["all-linear"], micro_tokens=TOKENS)
    shape = shape_of(described(kind, **heads), "config.json")
    found = kept(model, mode in ("autocast", "lora bf16"))
    assert memory.activations(shape, setup) - last_product(shape, setup) == pytest.approx(found, rel=0.02)


def last_product(shape, setup):
    """What the head keeps of the last norm, and `hidden` alone does not."""
    narrow = 2 if setup.narrow else 4
    return 0 if setup.lora else TOKENS * shape.hidden * narrow


def test_gradient_checkpointing_keeps_the_input_of_each_layer():
    """And of one layer at a time all the rest, which the backward pass computes again."""
    model = make("LlamaForCausalLM")
    model.checkpoint_layers = True
    shape = shape_of(described("LlamaForCausalLM"), "config.json")
    setups = [Setup(narrow=False, micro_tokens=TOKENS, checkpointing=flag) for flag in (True, False)]
    few, all_layers = (memory.activations(shape, setup) for setup in setups)
    layer = (all_layers - TOKENS * (8 * shape.hidden + 4)) / shape.layers
    assert few - layer - last_product(shape, setups[0]) == pytest.approx(kept(model, False), rel=0.02)


def test_cache():
    """Bytes of the torch sampler's cache."""
    config = ModelConfig.from_dict(described("Qwen3ForCausalLM"))
    cache = KVCache(config, dtype=torch.bfloat16, device=torch.device("cpu"))
    cache.reserve(6, 288, max_rows=6, max_length=288)
    held = sum(t.untyped_storage().nbytes() for t in (*cache.keys, *cache.values))
    shape = shape_of(described("Qwen3ForCausalLM"), "config.json")
    parts = memory.plan(shape, Setup(slots=6, context=288), 0.0)
    assert next(part.sampling for part in parts if "cache" in part.name) == held
