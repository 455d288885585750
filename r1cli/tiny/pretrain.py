"""Makes the tiny base: `python -m r1cli.tiny.pretrain --seed S --out DIR`; its student with `--name tiny-student`.

Builds the tokenizer, generates the corpus as it goes, trains on every token of it, and writes a Hugging Face folder
with r1.json, which records the recipe, the digest of the weights and the hyper-parameters that suit this base. One
thread and one torch build give the same bytes for the same seed. It does not judge the result: that is accept.py.
"""

import argparse
import hashlib
import json
import math
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from r1cli.backend.model import ModelConfig, Transformer
from r1cli.tiny.corpus import CORPUS_VERSION, Mix, document
from r1cli.tiny.tokens import END, PAD, build_tokenizer, tokenizer_config

CONTEXT = 512
# By name. The student reads the same corpus by the same recipe; a smaller model bears a higher learning rate.
SHAPES = {
    "tiny": {
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
    },
    "tiny-student": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    },
}
RATES = {"tiny": 4e-3, "tiny-student": 6e-3}
DEFAULTS = {
    "task": "sum",
    "template": "r1-zero",
    "sample": {"questions": 8, "group": 16, "temperature": 1.0, "max_tokens": 96},
    "grpo": {
        "lr": 4e-4,
        "scale": "none",
        "normalize": "token",
        "kl": 0.0,
        "clip_low": 0.2,
        "clip_high": 0.2,
        "beta2": 0.95,
        "grad_clip": 1.0,
        "warmup_steps": 3,
        "decay": "linear",
        "total_steps": 60,
        "lr_min_ratio": 0.1,
    },
    "sft": {"lr": 1e-3, "batch": 32, "epochs": 4},
    "eval": {"temperature": 0.6, "top_p": 0.95, "samples": 16, "questions": 200},
}


@dataclass(slots=True, frozen=True)
class Recipe:
    """How the base is trained; the corpus has its own settings (corpus.Mix)."""

    seed: int = 0
    steps: int = 2600
    documents: int = 64
    lr: float = 4e-3
    lr_min_ratio: float = 0.05
    warmup: int = 50
    weight_decay: float = 0.01
    beta2: float = 0.98


def model_config(tokenizer: Tokenizer, name: str = "tiny") -> dict:
    """config.json of the base of that name, as Hugging Face writes it for Qwen2."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        **SHAPES[name],
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id(END),
        "pad_token_id": tokenizer.token_to_id(PAD),
        "torch_dtype": "bfloat16",
        "vocab_size": tokenizer.get_vocab_size(),
    }


def initialise(model: Transformer, generator: torch.Generator) -> None:
    """Embedding N(0, 0.02), linear layers N(0, 1/fan_in), those that write to the residual scaled by 1/sqrt(2L)."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            deviation = 0.02 if "embed_tokens" in name else parameter.shape[1] ** -0.5
            if "o_proj" in name or "down_proj" in name:
                deviation /= math.sqrt(2 * model.config.layers)
            torch.nn.init.normal_(parameter, 0.0, deviation, generator=generator)


def padded_hidden(model: Transformer, tokens: Tensor) -> Tensor:
    """Final hidden states [B, T, C] of right-padded tokens [B, T]; under causal attention padding changes nothing."""
    rows, length = tokens.shape

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.view(rows, length, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(0, 1)

    positions = torch.arange(length).repeat(rows)
    return model.hidden(tokens.flatten(), positions, attend).view(rows, length, -1)


def loss_of(model: Transformer, batch: list[list[int]], pad: int) -> Tensor:
    """Summed cross-entropy of every token but the first of each document."""
    length = max(len(ids) for ids in batch)
    tokens = torch.tensor([ids + [pad] * (length - len(ids)) for ids in batch])
    targets = tokens[:, 1:]
    real = targets != pad
    return F.cross_entropy(model.logits(padded_hidden(model, tokens[:, :-1])[real]), targets[real], reduction="sum")


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to lr_min_ratio."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.lr * (recipe.lr_min_ratio + (1 - recipe.lr_min_ratio) * 0.5 * (1 + math.cos(math.pi * done)))


def pretrain(
    recipe: Recipe,
    mix: Any,
    *,
    name: str = "tiny",
    write: Callable[[random.Random, Any], str] = document,
    tokenizer: Tokenizer | None = None,
    report_every: int = 50,
) -> tuple[Transformer, Tokenizer, dict]:
    """Trains from scratch on generated documents; returns model (fp32), tokenizer, config.json; reports on stderr.

    `write` makes one document of the corpus that `mix` describes; it and the tokenizer are the tiny base's by default.
    """
    tokenizer = tokenizer or build_tokenizer()
    config = model_config(tokenizer, name)
    pad = tokenizer.token_to_id(PAD)
    model = Transformer(ModelConfig.from_dict(config))
    initialise(model, torch.Generator().manual_seed(recipe.seed))
    decayed = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, recipe.beta2))
    rng = random.Random(recipe.seed)
    running = None
    for step in range(recipe.steps):
        texts = [write(rng, mix) + END for _ in range(recipe.documents)]
        # Sorted by length and cut in two: half the padding of one batch.
        batch = sorted((encoding.ids for encoding in tokenizer.encode_batch(texts)), key=len)
        count = sum(len(ids) - 1 for ids in batch)
        total = 0.0
        for part in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
            loss = loss_of(model, part, pad) / count
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running = total if running is None else 0.98 * running + 0.02 * total
        if report_every and (step + 1) % report_every == 0:
            seconds = time.process_time()
            sys.stderr.write(f"step {step + 1}/{recipe.steps} loss {running:.4f} cpu {seconds:.0f} s\n")
            sys.stderr.flush()
    return model, tokenizer, config


def write_json(path: Path, value: dict) -> None:
    """Writes a dict as indented JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def digest_of(path: Path) -> str:
    """sha256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_checkpoint(
    folder: Path,
    model: Transformer,
    tokenizer: Tokenizer,
    config: dict,
    recipe: Recipe,
    mix: Any,
    *,
    name: str = "tiny",
    version: int = CORPUS_VERSION,
    defaults: dict[str, Any] = DEFAULTS,
) -> None:
    """Writes the Hugging Face folder (bf16 weights) and r1.json; `version` is the corpus's, `mix` its settings."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config)
    ends = {"eos_token_id": config["eos_token_id"], "pad_token_id": config["pad_token_id"]}
    write_json(folder / "generation_config.json", {"do_sample": True, **ends})
    write_json(folder / "tokenizer_config.json", tokenizer_config(CONTEXT))
    tokenizer.save(str(folder / "tokenizer.json"))
    record = {
        "name": name,
        "recipe": asdict(recipe),
        "corpus": {"version": version, **asdict(mix)},
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "sha256": {"model.safetensors": digest_of(folder / "model.safetensors")},
        "defaults": defaults,
    }
    write_json(folder / "r1.json", record)


def main(arguments: list[str] | None = None) -> None:
    """Reads --name, --seed, --out, --steps and makes the checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m r1cli.tiny.pretrain", description="Pretrain the tiny base.")
    parser.add_argument("--name", choices=SHAPES, default="tiny", help="which base: its shape and learning rate")
    parser.add_argument("--seed", type=int, default=Recipe().seed, help="of the weights and of the corpus")
    parser.add_argument("--steps", type=int, default=Recipe().steps, help="optimizer updates")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args(arguments)
    # Sums over threads are not associative: one thread makes the bytes repeatable.
    torch.set_num_threads(1)
    recipe, mix = Recipe(seed=options.seed, steps=options.steps, lr=RATES[options.name]), Mix()
    model, tokenizer, config = pretrain(recipe, mix, name=options.name)
    write_checkpoint(options.out, model, tokenizer, config, recipe, mix, name=options.name)


if __name__ == "__main__":
    main()
