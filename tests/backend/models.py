"""Random small Hugging Face checkpoints: Qwen2, Qwen3 and Llama shapes, with a real byte-level BPE tokenizer."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, Qwen2Config, Qwen3Config

BOS, EOS, TURN = "<|begin|>", "<|end|>", "<|turn|>"
CORPUS = [
    "Let me think: 12 + 30 = 42.",
    "<think> first, then second </think>",
    "<answer> 42 </answer>",
    "naïve café, déjà vu ",
    "The quick brown fox jumps over the lazy dog; 0123456789.",
] * 4
VOCABULARY = 320


def config(kind: str, **changes: Any) -> Qwen2Config | Qwen3Config | LlamaConfig:
    """A small configuration of one of the three families; changes override its values."""
    common = {
        "vocab_size": VOCABULARY,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "max_position_embeddings": 256,
        "eos_token_id": 1,
        "bos_token_id": 0,
        "pad_token_id": None,
    }
    if kind == "qwen2":
        heads = {"num_attention_heads": 3, "num_key_value_heads": 1, "tie_word_embeddings": True}
        return Qwen2Config(**{**common, **heads, "rope_theta": 1e6, **changes})
    if kind == "qwen3":
        # head_dim is not hidden_size / heads, as in the published Qwen3-0.6B.
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": False}
        return Qwen3Config(**{**common, **heads, **changes})
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
        "rope_theta": 10000.0,
    }
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": False}
    return LlamaConfig(**{**common, **heads, "rope_parameters": scaling, **changes})


def write_tokenizer(folder: Path, *, bos: bool = False) -> None:
    """Trains a byte-level BPE and writes its files; with `bos`, its post-processor puts one in front, as Llama 3's."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - 8,
            special_tokens=[BOS, EOS, TURN],
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    if bos:
        single = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, backend.token_to_id(BOS))])
        backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), single])
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": EOS, "clean_up_tokenization_spaces": False}
    settings |= {"bos_token": BOS} if bos else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_checkpoint(
    folder: Path,
    kind: str,
    *,
    seed: int = 0,
    shard: str | None = None,
    bos: bool = False,
    scale: float = 3.0,
    **changes: Any,
) -> PreTrainedModel:
    """Writes a random checkpoint and returns Hugging Face's fp32 model of it, the oracle.

    `scale` multiplies the weight matrices: freshly initialised ones give nearly uniform logits, with which a wrong
    attention pattern would go unnoticed. `shard` is the size of a shard ("40KB").
    """
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config(kind, **changes), dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.mul_(scale)
            else:
                # Norm weights of 1 and biases of 0 would hide a missing one.
                parameter.add_(0.2 * torch.randn_like(parameter))
            if name.endswith("embed_tokens.weight") and model.config.tie_word_embeddings:
                parameter.mul_(3)
    model.save_pretrained(folder, max_shard_size=shard or "5GB")
    write_tokenizer(folder, bos=bos)
    return model
