"""Random Qwen2 checkpoints of 3 and 113 million parameters with a tokenizer, for programs that compare on a model."""

import sys
from pathlib import Path

from transformers import Qwen2Config, Qwen2ForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1] / "backend"))
from models import write_tokenizer

SIZES = {
    "3M": {
        "vocab_size": 320,
        "hidden_size": 256,
        "intermediate_size": 704,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    },
    "113M": {
        "vocab_size": 49152,
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
    },
}


def write(folder: Path, size: str, **changes: object) -> int:
    """Writes a checkpoint of a size of SIZES into the folder; returns its number of parameters."""
    import torch

    torch.manual_seed(0)
    shape = {**SIZES[size], "max_position_embeddings": 40960, "tie_word_embeddings": True, **changes}
    config = Qwen2Config(**shape, bos_token_id=None, eos_token_id=1, pad_token_id=None)
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return model.num_parameters()
