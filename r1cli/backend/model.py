"""The decoder that Qwen2, Qwen3 and Llama checkpoints share, with attention left to the caller.

Linear layers see a flat list of tokens, so nothing is padded; who calls decides what a token may attend to: the sampler
keeps a cache, the trainer packs groups that share a prompt. Parameter names equal Hugging Face's, so a state dict is a
checkpoint. It does not load files (checkpoint.py), sample or train.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from r1cli.backend.kernels import Gated, Lookup, Norm, Rotation
from r1cli.errors import InputError

ARCHITECTURES = {"Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3", "LlamaForCausalLM": "llama"}

ROPE_KEYS = {
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(slots=True, frozen=True)
class ModelConfig:
    """What the forward pass needs to know of a Hugging Face config.json."""

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float
    rope_theta: float
    rope_scaling: dict[str, Any] | None
    tied: bool
    context: int
    qkv_bias: bool
    output_bias: bool
    qk_norm: bool
    mlp_bias: bool

    @classmethod
    def from_dict(cls, config: dict[str, Any], where: str = "config.json") -> "ModelConfig":
        """Reads a config.json; raises InputError for an architecture or a setting that this model does not compute."""
        names = config.get("architectures") or []
        name = names[0] if names else None
        if name not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise InputError(f"{where}: architecture {name} is not supported; known are {known}")
        kind = ARCHITECTURES[name]
        if config.get("hidden_act", "silu") != "silu":
            raise InputError(f"{where}: hidden_act {config['hidden_act']!r} is not supported; expected 'silu'")
        if config.get("use_sliding_window"):
            raise InputError(f"{where}: use_sliding_window is not supported; set it to false for full attention")
        # transformers 5 writes theta and the scaling into one rope_parameters object, older files keep two keys.
        rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
        theta = rope.pop("rope_theta", None) or config.get("rope_theta", 10000.0)
        rope_kind = rope.get("rope_type", rope.get("type", "default"))
        if rope_kind not in ("default", "llama3", "linear"):
            raise InputError(f"{where}: rope scaling {rope_kind!r} is not supported; known are default, linear, llama3")
        for key in ROPE_KEYS.get(rope_kind, ()):
            if not isinstance(rope.get(key), int | float):
                raise InputError(f"{where}: rope scaling {rope_kind!r} needs the number {key}")
        sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        for key in sizes:
            if type(config[key]) is not int or config[key] < 1:
                raise InputError(f"{where}: {key} is {config[key]!r}; expected a whole number above 0")
        heads = config["num_attention_heads"]
        return cls(
            architecture=kind,
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            norm_eps=config.get("rms_norm_eps", 1e-6),
            rope_theta=float(theta),
            rope_scaling=rope if rope_kind != "default" else None,
            tied=bool(config.get("tie_word_embeddings", False)),
            context=config.get("max_position_embeddings", 2048),
            qkv_bias=kind == "qwen2" or bool(config.get("attention_bias", False)),
            output_bias=kind != "qwen2" and bool(config.get("attention_bias", False)),
            qk_norm=kind == "qwen3",
            mlp_bias=kind == "llama" and bool(config.get("mlp_bias", False)),
        )


def rope_frequencies(config: ModelConfig) -> Tensor:
    """Inverse frequencies of the rotary embedding, [head_dim / 2], after linear or Llama-3 scaling (fp32)."""
    inverse = 1.0 / config.rope_theta ** (torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim)
    scaling = config.rope_scaling
    if scaling is None:
        return inverse
    factor = scaling["factor"]
    if scaling.get("rope_type", scaling.get("type")) == "linear":
        return inverse / factor
    # Llama 3: long wavelengths are stretched by the factor, short ones kept, those between interpolated.
    original = scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    wavelength = 2 * math.pi / inverse
    smooth = ((original / wavelength - low) / (high - low)).clamp(0, 1)
    blended = (1 - smooth) * inverse / factor + smooth * inverse
    short_kept = torch.where(wavelength < original / high, inverse, blended)
    return torch.where(wavelength > original / low, inverse / factor, short_kept)


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last dimension, computed in fp32 as Hugging Face does."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if plain_cpu(x) and self.weight.dtype == torch.float32:
            return Norm.apply(x, self.weight, self.eps)
        return F.rms_norm(x.float(), x.shape[-1:], None, self.eps).to(x.dtype) * self.weight.to(x.dtype)


class Attention(nn.Module):
    """Projections, norms and rotation; the mixing itself is the caller's `attend`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=config.qkv_bias)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=config.output_bias)
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_dim, config.norm_eps)
            self.k_norm = RMSNorm(config.head_dim, config.norm_eps)
        self.qk_norm = config.qk_norm
        self.head_dim = config.head_dim

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], layer: int, attend: Attend) -> Tensor:
        q = self.q_proj(x).unflatten(-1, (-1, self.head_dim))
        k = self.k_proj(x).unflatten(-1, (-1, self.head_dim))
        v = self.v_proj(x).unflatten(-1, (-1, self.head_dim))
        if self.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        mixed = attend(layer, rotate(q, rotation), rotate(k, rotation), v)
        return self.o_proj(mixed.flatten(-2))


class MLP(nn.Module):
    """Gated SiLU feed-forward."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_proj(x), self.up_proj(x)
        return self.down_proj(Gated.apply(gate, up) if plain_cpu(gate) else F.silu(gate) * up)


class Layer(nn.Module):
    """One pre-norm block."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_eps)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], layer: int, attend: Attend) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotation, layer, attend)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embedding, blocks and final norm: what Hugging Face keeps under `model.`"""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)


class Transformer(nn.Module):
    """A causal language model over flat tokens."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        if not config.tied:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.checkpoint_layers = False
        # For a trainer that owns the gradients: the large ones of embedding and head are then added up in place. Not
        # for one that learns of gradients by hooks.
        self.direct_gradients = False
        # A plain attribute and not a buffer: .to(bfloat16) must not round the frequencies.
        self.frequencies = rope_frequencies(config)

    @property
    def head_weight(self) -> Tensor:
        """The output projection [V, C], which is the embedding when the two are tied."""
        return self.model.embed_tokens.weight if self.config.tied else self.lm_head.weight

    def rotation(self, positions: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine for positions [N], each [N, 1, head_dim], in the model's dtype unless said."""
        if self.frequencies.device != positions.device:
            self.frequencies = self.frequencies.to(positions.device)
        angles = positions.float()[:, None] * self.frequencies
        sin = angles.sin()
        cos, sin = angles.cos(), torch.cat((-sin, sin), -1)
        dtype = dtype or self.model.norm.weight.dtype
        return torch.cat((cos, cos), -1)[:, None].to(dtype), sin[:, None].to(dtype)

    def hidden(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Final hidden states [N, C] of tokens [N] at positions [N].

        `attend(layer, q [N, Hq, D], k [N, Hkv, D], v [N, Hkv, D])` returns the mixed values [N, Hq, D]; q and k come
        rotated.
        """
        embedding = self.model.embed_tokens
        x = Lookup.apply(tokens, embedding.weight) if self.direct_gradients else embedding(tokens)
        # Of no weight: ZeRO 3 takes one that is looked at outside of its module for a weight of another.
        rotation = self.rotation(positions, x.dtype)
        for index, layer in enumerate(self.model.layers):
            if self.checkpoint_layers and torch.is_grad_enabled():
                x = checkpoint(layer, x, rotation, index, attend, use_reentrant=False)
            else:
                x = layer(x, rotation, index, attend)
        return self.model.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [M, V] of hidden states [M, C], in fp32."""
        return F.linear(hidden, self.head_weight.to(hidden.dtype)).float()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Applies the rotary embedding to x [N, H, D] (Hugging Face's half-split layout).

    The sine of the first half comes negated from `rotation`: so the halves only trade places here.
    """
    cos, sin = rotation
    if plain_cpu(x):
        return Rotation.apply(x, cos, sin)
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


def plain_cpu(x: Tensor) -> bool:
    """Whether x is what kernels.py is for: fp32 on a CPU, outside autocast."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
