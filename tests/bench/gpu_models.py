"""Random-weight models of published shapes for the gpu_*.py programs: checkpoint folders, FLOPs, and a guard for CUDA.

Speed and memory do not depend on what the weights say, so nothing has to be downloaded.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from r1cli.backend.model import ModelConfig, Transformer

COMMON = {"vocab_size": 151936, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": True}
QWEN2 = {**COMMON, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rope_theta": 1e6}
QWEN3 = {**COMMON, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "rope_theta": 1e6}


def _sizes(hidden: int, inner: int, layers: int, heads: int, shared: int) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
    }


SHAPES = {
    "qwen2.5-0.5b": {**QWEN2, **_sizes(896, 4864, 24, 14, 2)},
    "qwen2.5-1.5b": {**QWEN2, **_sizes(1536, 8960, 28, 12, 2)},
    "qwen3-0.6b": {**QWEN3, **_sizes(1024, 3072, 28, 16, 8), "head_dim": 128},
    # For a try on a CPU: is the program itself right?
    "toy": {**QWEN2, **_sizes(64, 128, 2, 2, 1), "vocab_size": 512},
}
# Dense bf16 peaks in TFLOP/s, by what the driver calls the card (the vendors' data sheets, without sparsity).
PEAKS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "4090": 165.0}


def find_device(name: str) -> torch.device:
    """The device; ends the program with one line where it is not there."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("no CUDA device here; --device cpu --shape toy tries the program itself")
    return torch.device(name)


def describe(device: torch.device) -> dict[str, Any]:
    """The card, torch's version, and the card's bf16 peak in TFLOP/s (None where it is not known)."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    peak = next((value for word, value in PEAKS.items() if word in name), None)
    return {"device": name, "torch": torch.__version__, "peak_tflops": peak}


def write_model(folder: Path, shape: str) -> None:
    """A checkpoint with random bf16 weights, and a tokenizer in which every id is a word of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**SHAPES[shape], "dtype": "bfloat16", "bos_token_id": None, "eos_token_id": 0, "hidden_act": "silu"}
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    with torch.device("meta"):
        model = Transformer(ModelConfig.from_dict(config))
    weights = {
        name: (torch.ones(p.shape) if p.ndim == 1 else torch.randn(p.shape) * 0.02).to(torch.bfloat16)
        for name, p in model.named_parameters()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    words = {"<end>": 0} | {f"w{number}": number for number in range(1, config["vocab_size"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w1"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "unk_token": "w1"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def training_flops(config: ModelConfig, prompt: int, length: int) -> float:
    """FLOPs of one forward and backward pass over a sequence: 6 a weight and token, 12 a layer and pair in attention.

    Causal attention meets half of the pairs; the head is paid for completion tokens only. Recomputed activations and
    the reference do not count, as is usual for the model's FLOPs utilisation (Chowdhery et al. 2022, appendix B).
    """
    wide = config.heads * config.head_dim
    mixing = 2 * config.hidden_size * (wide + config.kv_heads * config.head_dim)
    layer = mixing + 3 * config.hidden_size * config.intermediate_size
    tokens = prompt + length
    body = 6.0 * config.layers * layer * tokens
    attention = 12.0 * config.layers * wide * tokens * tokens / 2
    return body + attention + 6.0 * config.vocab_size * config.hidden_size * length
