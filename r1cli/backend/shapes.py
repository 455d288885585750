"""Sizes of dense decoders: the usual ones by name, any by its config.json, and what follows from them.

It is for planning without torch; model.py builds the same shapes.
"""

from typing import Any, NamedTuple

from r1cli.errors import InputError


class Shape(NamedTuple):
    """A dense decoder of the Qwen2, Qwen3 and Llama kind."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool = False
    biased: bool = False
    normed: bool = False

    @property
    def queries(self) -> int:
        """Width of all query heads."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all key heads, which is that of the values."""
        return self.kv_heads * self.head_dim

    @property
    def head(self) -> int:
        """Parameters of the output projection, or of the embedding that serves as one."""
        return self.vocabulary * self.hidden

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of each linear layer of a block."""
        inner, mlp = self.hidden, self.intermediate
        return {
            "q_proj": (inner, self.queries), "k_proj": (inner, self.keys), "v_proj": (inner, self.keys),
            "o_proj": (self.queries, inner), "gate_proj": (inner, mlp), "up_proj": (inner, mlp),
            "down_proj": (mlp, inner),
        }  # fmt: skip

    @property
    def block(self) -> int:
        """Parameters of one block."""
        matrices = sum(inputs * outputs for inputs, outputs in self.linears.values())
        vectors = 2 * self.hidden
        vectors += self.queries + 2 * self.keys if self.biased else 0
        return matrices + vectors + (2 * self.head_dim if self.normed else 0)

    @property
    def parameters(self) -> int:
        """Φ."""
        return self.head * (1 if self.tied else 2) + self.layers * self.block + self.hidden

    def adapters(self, rank: int, targets: tuple[str, ...]) -> int:
        """Parameters of LoRA adapters: rank x (inputs + outputs) for each layer that has one."""
        return self.layers * rank * sum(sum(self.linears[name]) for name in targets)


SHAPES = {
    "0.5B": Shape(151936, 896, 4864, 24, 14, 2, 64, tied=True, biased=True),  # Qwen2.5
    "0.6B": Shape(151936, 1024, 3072, 28, 16, 8, 128, tied=True, normed=True),  # Qwen3
    "1B": Shape(128256, 2048, 8192, 16, 32, 8, 64, tied=True),  # Llama 3.2
    "1.5B": Shape(151936, 1536, 8960, 28, 12, 2, 128, tied=True, biased=True),  # Qwen2.5
    "1.7B": Shape(151936, 2048, 6144, 28, 16, 8, 128, tied=True, normed=True),  # Qwen3
    "3B": Shape(151936, 2048, 11008, 36, 16, 2, 128, tied=True, biased=True),  # Qwen2.5
    "4B": Shape(151936, 2560, 9728, 36, 32, 8, 128, tied=True, normed=True),  # Qwen3
    "7B": Shape(152064, 3584, 18944, 28, 28, 4, 128, biased=True),  # Qwen2.5
    "8B": Shape(128256, 4096, 14336, 32, 32, 8, 128),  # Llama 3.1
    "14B": Shape(152064, 5120, 13824, 48, 40, 8, 128, biased=True),  # Qwen2.5
    "32B": Shape(152064, 5120, 27648, 64, 40, 8, 128, biased=True),  # Qwen2.5
    "70B": Shape(128256, 8192, 28672, 80, 64, 8, 128),  # Llama 3
    "72B": Shape(152064, 8192, 29568, 80, 64, 8, 128, biased=True),  # Qwen2.5
}


def shape_of(config: dict[str, Any], where: str) -> Shape:
    """The shape in a config.json; raises InputError for one that lacks a size."""
    try:
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        kind = (config.get("architectures") or ["?"])[0]
        return Shape(
            config["vocab_size"], hidden, config["intermediate_size"], config["num_hidden_layers"], heads,
            config.get("num_key_value_heads") or heads, config.get("head_dim") or hidden // heads,
            bool(config.get("tie_word_embeddings", False)), kind.startswith("Qwen2"), kind.startswith("Qwen3"),
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise InputError(f"{where}: no model size can be read from it ({error})") from None
