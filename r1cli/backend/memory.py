"""Memory of a GPU that trains and samples, by part, on paper: the formulas behind `r1 serve --plan`.

Everything follows from the shape of the model, the trainer and a few sizes; nothing is loaded or started. Φ is the
number of parameters, N the number of GPUs. ZeRO is arXiv:1910.02054, sections 3 and 5; everything else is what this
program's own files keep: model.py, packing.py and logprobs.py (activations, head), zero.py (buckets), kvcache.py,
optimizer_state.py. tests/bench/memory.py holds the sums against measurements, from which the terms of ZeRO's buckets
were taken. It does not know what CUDA, NCCL and the allocator take for themselves (`RESERVE` stands for that), nor how
ragged batches fall.
"""

from dataclasses import dataclass
from typing import NamedTuple

from r1cli.backend.shapes import Shape

GIB = 2**30
RESERVE = 2 * GIB  # CUDA's context, libraries' workspaces, NCCL, and holes between tensors: an allowance, not measured
CHUNK, KEPT = 2**25, 2**26  # elements of logits, logprobs.py
BUCKET = 50_000_000  # zero.py
LIVE = 1_000_000_000  # elements of gathered weights that ZeRO 3 keeps until it needs them again, its own default
VLLM_SHARE = 0.9  # of a GPU's memory that vLLM takes unless told


def zero_states(
    parameters: float, gpus: int, stage: int, *, weight: float = 2, gradient: float = 2, optimizer: float = 12
) -> tuple[float, float, float]:
    """Bytes of (weights, gradients, optimizer state) on each GPU under ZeRO stage 0 (none) to 3, figure 1 of the paper.

    The three numbers are bytes per parameter; the paper's mixed-precision Adam has 2, 2 and K = 12.
    """
    parts = (gpus if stage == 3 else 1), (gpus if stage >= 2 else 1), (gpus if stage >= 1 else 1)
    return weight * parameters / parts[0], gradient * parameters / parts[1], optimizer * parameters / parts[2]


@dataclass(slots=True, frozen=True)
class Setup:
    """What is to be trained on, and how: `zero` None is the trainer of one process, `lora` the rank of adapters.

    `narrow` is bf16, as on a GPU; else everything is fp32, as on a CPU.
    """

    gpus: int = 1
    zero: int | None = None
    offload: str = "none"
    checkpointing: bool = False
    lora: int | None = None
    targets: tuple[str, ...] = ()
    reference: bool = True
    micro_tokens: int = 16384
    slots: int = 512
    context: int = 32768
    sampler: str = "torch"
    share: float = VLLM_SHARE
    sleep: bool = False
    narrow: bool = True


class Part(NamedTuple):
    """Bytes on each GPU while it samples, in forward and backward passes and in the optimizer's step; and on the host.

    `host` is for each GPU, too.
    """

    name: str
    sampling: float
    passes: float
    step: float
    host: float = 0.0


def plan(shape: Shape, setup: Setup, size: float) -> list[Part]:
    """Every part of the memory of one GPU of `size` bytes; what is nothing is left out."""
    kept = activations(shape, setup)
    parts = [
        *_sampler(shape, setup, size),
        *_states(shape, setup),
        _everywhere("reference", _reference(shape, setup)),
        Part("activations", 0.0, kept + _flowing(shape, setup), 0.0),
        Part("logits and head", 0.0, max(0.0, _head(shape, setup) - _flowing(shape, setup)), 0.0),
        _step(shape, setup),
        *_communication(shape, setup),
    ]
    if setup.narrow:
        parts.append(_everywhere("reserve", RESERVE))
    return [part for part in parts if any(part[1:])]


def total(parts: list[Part]) -> float:
    """The peak: the largest sum of one phase."""
    return max(sum(part[phase] for part in parts) for phase in (1, 2, 3))


def _everywhere(name: str, held: float) -> Part:
    return Part(name, held, held, held)


def _widths(setup: Setup) -> tuple[int, int, int]:
    """Bytes of an element of weights, of the residual stream, and of what matrix products take.

    The trainer of one process keeps fp32 weights and a GPU multiplies under autocast; ZeRO's weights, and the frozen
    base of adapters, are bf16 on a GPU.
    """
    if not setup.narrow:
        return 4, 4, 4
    return (2, 2, 2) if setup.zero or setup.lora else (4, 4, 2)


def _sampler(shape: Shape, setup: Setup, size: float) -> list[Part]:
    """The weights that are sampled from, and the cache of keys and values: 2 x layers x key width a token.

    On a GPU the sampler has a bf16 copy of its own on every rank (learner.py). The torch sampler's cache holds `slots`
    samples of `context` tokens and is given back before an update; vLLM takes its share of the GPU for weights and
    cache together, and gives it back only when it may sleep.
    """
    width = 2 if setup.narrow else 4
    copies = setup.narrow or setup.zero or setup.lora
    parts = [_everywhere("sampler's weights", width * shape.parameters if copies else 0.0)]
    if setup.sampler == "vllm":
        taken = setup.share * size
        return [*parts, Part("vLLM's weights and cache", taken, *([0.0 if setup.sleep else taken] * 2))]
    cache = 2 * shape.layers * shape.keys * width * setup.slots * setup.context
    return [*parts, Part("cache of keys and values", cache, 0.0, 0.0)]


def _states(shape: Shape, setup: Setup) -> list[Part]:
    """Weights, gradients and optimizer state of the trainer.

    One process: fp32 weights, gradients and two moments, 16 Φ, and on a GPU the bf16 copies that autocast makes of the
    weights during the passes. Adapters: the frozen base, and 16 bytes for each of their own parameters. ZeRO: weights
    in what the passes take, gradients added up in fp32, and an optimizer of 12 bytes (fp32 copy, two moments), divided
    as in zero_states; offloaded parts are on the host.
    """
    width, phi = _widths(setup)[0], shape.parameters
    if setup.lora:
        own = shape.adapters(setup.lora, setup.targets)
        return [
            _everywhere("trainer's weights", width * phi + 4 * own),
            Part("gradients", 0.0, 4 * own, 4 * own),
            _everywhere("optimizer", 8 * own),
        ]
    if setup.zero is None:
        return [
            Part("trainer's weights", 4 * phi, (6 if setup.narrow else 4) * phi, 4 * phi),
            Part("gradients", 0.0, 4 * phi, 4 * phi),
            _everywhere("optimizer", 8 * phi),
        ]
    weights, gradients, optimizer = zero_states(phi, setup.gpus, setup.zero, weight=width, gradient=4)
    parts = []
    away = setup.offload == "all"
    parts.append(Part("trainer's weights", *([0.0 if away else weights] * 3), weights if away else 0.0))
    away = setup.offload != "none"
    # When the step begins, each rank has the gradients of its own part alone, at any stage.
    own = 4 * phi / setup.gpus
    kept = gradients if setup.zero == 3 else 0.0  # stage 3 takes their memory once and for all
    parts.append(Part("gradients", *((0.0, 0.0, 0.0, own) if away else (kept, gradients, own))))
    parts.append(Part("optimizer", *([0.0 if away else optimizer] * 3), optimizer if away else 0.0))
    return parts


def _reference(shape: Shape, setup: Setup) -> float:
    """The frozen model of the KL term: bf16 (fp32 on a CPU), divided at ZeRO 3; of adapters a second set."""
    if not setup.reference:
        return 0.0
    if setup.lora:
        return 4.0 * shape.adapters(setup.lora, setup.targets)
    return (2 if setup.narrow else 4) * shape.parameters / (setup.gpus if setup.zero == 3 else 1)


def activations(shape: Shape, setup: Setup) -> float:
    """Bytes that one micro-batch keeps for its backward pass, in all layers.

    Per token and layer: the input, the normalised input and its product with the norm's weight, twice; queries before
    and after packing.py has put them in order, keys and values likewise (then repeated for grouped heads), and their
    mixture as it comes, joined, and in the tokens' order, 7 x query width + 2 x key width; one number a head; gate, up,
    silu(gate) and the product, 4 x intermediate. Then the last norm. On a CPU kernels.py keeps less: a norm its input
    and a number, the MLP no silu; and keys and values are not repeated. With gradient checkpointing: the input of each
    layer, and one layer of the above. Frozen weights need neither the norm's products nor, without adapters on the
    layer, its input.
    """
    _, stream, compute = _widths(setup)
    norms = 2 * _norm(shape, setup)
    if compute < stream:
        norms += 3 * shape.hidden * compute  # autocast narrows the same input for each of q, k, v, and of gate and up
    heads = _heads(shape, setup, 7)
    if shape.normed and setup.narrow:
        heads += compute * (shape.queries + shape.keys)  # what the norms of queries and keys make of their input
    mlp = (4 if setup.narrow else 3) * shape.intermediate * compute
    last = _norm(shape, setup)
    if setup.lora:
        norms, heads, mlp = _lora_widths(shape, setup)
        last = 4 * shape.hidden
    layer = norms + heads + mlp
    if setup.checkpointing:
        return setup.micro_tokens * (shape.layers * shape.hidden * stream + layer + last)
    return setup.micro_tokens * (shape.layers * layer + last)


def _norm(shape: Shape, setup: Setup) -> float:
    """Bytes a token of a norm: the fp32 input, the normalised one where it is kept, and the product as it is used."""
    _, stream, compute = _widths(setup)
    return shape.hidden * (4 + stream + compute) if setup.narrow else 8 * shape.hidden + 4


def _heads(shape: Shape, setup: Setup, wide: int) -> float:
    """Bytes a token of attention, the input of the norms of queries and keys included; on a GPU it keeps `wide` tensors
    of the queries' width.
    """
    compute = _widths(setup)[2]
    narrow, own = (wide, 2) if setup.narrow else (wide - 2, 4)
    heads = (narrow * shape.queries + own * shape.keys) * compute + 4 * shape.heads
    if shape.normed:
        heads += 4 * (shape.queries + shape.keys)
    return heads


def _lora_widths(shape: Shape, setup: Setup) -> tuple[float, float, float]:
    """As the three parts of `activations`: each adapter on a GPU keeps a bf16 copy of its input and its rank's row."""
    compute = _widths(setup)[2]
    inputs: dict[str, int] = {}
    for name in setup.targets:
        source = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "gate_proj": "mlp", "up_proj": "mlp"}.get(
            name, name
        )
        inputs[name if setup.narrow else source] = shape.linears[name][0]
    kept = compute * (sum(inputs.values()) + setup.lora * len(setup.targets))
    mlp = (3 if setup.narrow else 2) * shape.intermediate * compute
    return 2 * 4 * shape.hidden + kept, _heads(shape, setup, 6), mlp


def _flowing(shape: Shape, setup: Setup) -> float:
    """Gradients of activations on their way through one block: three of the MLP's width, two of the stream's."""
    _, stream, compute = _widths(setup)
    return setup.micro_tokens * (3 * shape.intermediate * compute + 2 * shape.hidden * stream)


def _head(shape: Shape, setup: Setup) -> float:
    """Output projection and log-probs (logprobs.py), when every token is predicted: rows of logits of one chunk.

    Probabilities in fp32, those of all tokens where few enough are kept for backward, and a chunk of the product at
    work, narrow with an fp32 copy. The gradient of the projection is its own, but under ZeRO, which takes it over; a
    narrow one is added by way of another. A frozen projection has none.
    """
    weight, _, compute = _widths(setup)
    narrow = compute if compute < 4 else 0
    rows = min(setup.micro_tokens, max(1, CHUNK // shape.vocabulary))
    kept = setup.micro_tokens if setup.micro_tokens * shape.vocabulary <= KEPT else rows
    logits = shape.vocabulary * (4 * kept + (4 + narrow) * rows)
    copy = compute * shape.head if compute < weight else 0
    gradient = 0 if setup.lora else (narrow + (0 if setup.zero is None else 4)) * shape.head
    return logits + copy + gradient + 2 * setup.micro_tokens * shape.hidden * compute


def _step(shape: Shape, setup: Setup) -> Part:
    """What the update itself needs: AdamW's denominator for the largest tensor; under ZeRO a rank's gradient in one
    piece.
    """
    if setup.zero is None:
        largest = shape.head
        if setup.lora:
            largest = setup.lora * max(shape.hidden, shape.intermediate, shape.queries)
        return Part("optimizer's work", 0.0, 0.0, 4 * largest)
    work = 4 * shape.parameters / setup.gpus
    away = setup.offload != "none"
    return Part("optimizer's work", 0.0, 0.0, 0.0 if away else work, work if away else 0.0)


def _communication(shape: Shape, setup: Setup) -> list[Part]:
    """Buckets of gradients on their way to other ranks, and at stage 3 the weights that are gathered at a time.

    Stage 1 sends after the last backward pass, stages 2 and 3 whenever a bucket is full; what comes back at stage 3 is
    a rank's part of it. Stage 3 keeps its bucket. A GPU takes all buckets whole and at once, two where one is sent
    while the next fills, with an fp32 copy of the one that is sent; on a CPU those of stage 1 come after the peak, and
    stage 2 touches the second one only in models that fill the first.
    """
    if setup.zero is None:
        return []
    width, phi = _widths(setup)[0], shape.parameters
    gathered = min(LIVE, phi) * width if setup.zero == 3 else 0
    if setup.narrow:
        buckets = BUCKET * (width * (1 if setup.zero == 1 else 2) + 4)
        return [Part("communication", 0.0, buckets + gathered, BUCKET * width)]
    bucket = 4 * min(BUCKET, phi)
    sent = {1: 0.0, 2: bucket * max(1, min(2, phi // BUCKET)), 3: bucket + bucket / setup.gpus}[setup.zero]
    return [Part("communication", 0.0, sent + gathered, bucket if setup.zero == 3 else 0.0)]
