"""A checkpoint that says the same whatever it is asked: a judge with one verdict, a model that never ends."""

import json

import numpy
import tokenizers
from safetensors.numpy import save_file
from tokenizers import decoders, models, pre_tokenizers


def constant_checkpoint(folder, pieces, *, ends=True, context=4096):
    """A Llama that says `pieces`, once or without end, whatever it is asked: each token selects the next one."""
    alphabet = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(pieces))
    words = ["<end>", *pieces, *alphabet]
    size, hidden = len(words), -(-len(words) // 128) * 128  # heads that vLLM knows
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab={word: at for at, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.add_tokens([tokenizers.AddedToken(piece, normalized=False) for piece in pieces])
    embed, head = numpy.zeros((2, size, hidden), dtype=numpy.float32)
    for at in range(size):
        following = (at + 1) % (len(pieces) + 1) if at <= len(pieces) else 1
        embed[at, at] = 1.0
        head[following if following or ends else 1, at] = 10.0
    square, narrow = numpy.zeros((hidden, hidden), numpy.float32), numpy.zeros((8, hidden), numpy.float32)
    ones, layer = numpy.ones(hidden, numpy.float32), "model.layers.0"
    weights = {"model.embed_tokens.weight": embed, "lm_head.weight": head, "model.norm.weight": ones}
    weights |= {f"{layer}.{name}_layernorm.weight": ones.copy() for name in ("input", "post_attention")}
    weights |= {f"{layer}.self_attn.{name}_proj.weight": square.copy() for name in "qkvo"}
    weights |= {f"{layer}.mlp.{name}_proj.weight": narrow.copy() for name in ("gate", "up")}
    weights[f"{layer}.mlp.down_proj.weight"] = narrow.T.copy()
    folder.mkdir()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}))
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": size, "hidden_size": hidden,
        "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4,
        "max_position_embeddings": context, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": False, "eos_token_id": 0, "torch_dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder
