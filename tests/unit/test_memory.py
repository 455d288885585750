"""The planner's formulas by hand: the ZeRO paper's own example, published parameter counts, and small sums."""

import pytest

from r1cli.backend import memory
from r1cli.backend.memory import Setup, plan, zero_states
from r1cli.backend.shapes import SHAPES, Shape

SMALL = Shape(vocabulary=100, hidden=8, intermediate=32, layers=3, heads=4, kv_heads=2, head_dim=4, tied=True)


@pytest.mark.parametrize(("stage", "expected"), [(0, 120.0), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_the_example_of_the_paper(stage, expected):
    """7.5 billion parameters, 64 GPUs, fp16 with Adam (K = 12): figure 1 of arXiv:1910.02054."""
    assert sum(zero_states(7.5e9, 64, stage)) / 1e9 == pytest.approx(expected, abs=0.05)


# What the models' own pages, or a count of their tensors, say.
PUBLISHED = {
    "0.5B": 494_032_768, "0.6B": 596_049_920, "1B": 1_235_814_400, "1.5B": 1_543_714_304, "1.7B": 1_720_574_976,
    "3B": 3_085_938_688, "4B": 4_022_468_096, "7B": 7_615_616_512, "8B": 8_030_261_248, "14B": 14_770_033_664,
    "32B": 32_763_876_352, "70B": 70_553_706_496, "72B": 72_706_203_648,
}  # fmt: skip


def test_usual_sizes():
    """Parameters computed from the shapes."""
    assert {name: shape.parameters for name, shape in SHAPES.items()} == PUBLISHED


def test_parameters_by_hand():
    """100 x 8 embedding; per block q 8x16, k and v 8x8, o 16x8, three of 8x32, two norms; and the last norm."""
    block = 128 + 2 * 64 + 128 + 3 * 256 + 16
    assert SMALL.block == block and SMALL.parameters == 800 + 3 * block + 8
    assert SMALL.adapters(2, ("q_proj", "down_proj")) == 3 * 2 * (8 + 16 + 32 + 8)


def parts_of(setup, size=0.0):
    return {part.name: part for part in plan(SMALL, setup, size)}


def test_one_process_holds_sixteen_bytes_a_parameter():
    """fp32 weights, gradients, two moments; on a GPU the sampler's bf16 copy, the reference's, and autocast's."""
    parts, phi = parts_of(Setup()), SMALL.parameters
    assert parts["trainer's weights"][1:4] == (4 * phi, 6 * phi, 4 * phi)
    assert parts["gradients"].passes == 4 * phi and parts["optimizer"].sampling == 8 * phi
    assert parts["sampler's weights"].step == parts["reference"].step == 2 * phi
    assert "reference" not in parts_of(Setup(reference=False)) and "communication" not in parts


def test_zero_divides_what_it_says():
    """bf16 weights, fp32 gradients, 12 bytes of optimizer, over four GPUs; what is offloaded is on the host."""
    phi = SMALL.parameters
    for stage, whole in ((1, (2, 4, 3)), (2, (2, 1, 3)), (3, (0.5, 1, 3))):
        parts = parts_of(Setup(gpus=4, zero=stage))
        found = tuple(parts[name].passes for name in ("trainer's weights", "gradients", "optimizer"))
        assert found == tuple(each * phi for each in whole)
    away = parts_of(Setup(gpus=4, zero=3, offload="all"))
    for name, each in (("trainer's weights", 0.5), ("gradients", 1), ("optimizer", 3)):
        assert away[name][1:] == (0, 0, 0, each * phi)


def test_adapters_cost_little():
    """A frozen bf16 base; 16 bytes for each parameter of the adapters, 4 more for the reference's."""
    targets = ("q_proj", "v_proj")
    own = SMALL.adapters(4, targets)
    parts = parts_of(Setup(lora=4, targets=targets))
    assert parts["trainer's weights"].passes == 2 * SMALL.parameters + 4 * own
    assert (parts["gradients"].passes, parts["optimizer"].passes, parts["reference"].passes) == (
        4 * own,
        8 * own,
        4 * own,
    )


def test_cache_of_the_samplers():
    """Keys and values, 3 layers of 2 x 8 numbers in bf16 a token; vLLM's is its share, which sleep gives back."""
    assert parts_of(Setup(slots=5, context=7))["cache of keys and values"][1:4] == (5 * 7 * 3 * 2 * 8 * 2, 0, 0)
    assert parts_of(Setup(sampler="vllm"), 1000.0)["vLLM's weights and cache"][1:4] == (900, 900, 900)
    asleep = parts_of(Setup(sampler="vllm", share=0.5, sleep=True), 1000.0)
    assert asleep["vLLM's weights and cache"][1:4] == (500, 0, 0)


def test_the_total_is_the_largest_phase():
    """Sampling and training are not at the same time."""
    parts = plan(SMALL, Setup(slots=10**6, context=100), 0.0)
    assert memory.total(parts) == sum(part.sampling for part in parts)
    parts = plan(SMALL, Setup(slots=1, context=1), 0.0)
    assert memory.total(parts) == sum(part.passes for part in parts)
