"""Model folders: published ones are read, wrong ones refused in one line, and what we write others can read."""

import json
import shutil

import models
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from r1cli.backend.checkpoint import end_tokens, load_model, load_weights, read_config, save_weights, weight_files
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError, R1Error

KINDS = ("qwen2", "qwen3", "llama")
TOKENS = torch.arange(3, 23)


def causal(layer, q, k, v):
    """Plain attention of one sequence, written apart from the sampler's and the trainer's."""
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
    scores = torch.einsum("ihd,jhd->hij", q, k) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(torch.ones(q.shape[0], q.shape[0]).triu(1).bool(), -torch.inf)
    return torch.einsum("hij,jhd->ihd", scores.softmax(-1), v)


def our_logits(model):
    with torch.no_grad():
        return model.logits(model.hidden(TOKENS, torch.arange(20), causal))


def their_logits(model):
    with torch.no_grad():
        return model(TOKENS[None]).logits[0].float()


@pytest.mark.parametrize("shard", [None, "40KB"])
@pytest.mark.parametrize("kind", KINDS)
def test_loaded_model_equals_hugging_face(tmp_path, kind, shard):
    """One file or a sharded index: the same logits as the model that wrote it."""
    oracle = models.write_checkpoint(tmp_path, kind, shard=shard)
    assert (len(weight_files(tmp_path)) > 2) == (shard is not None)
    model = load_model(tmp_path, dtype=torch.float32, device="cpu")
    torch.testing.assert_close(our_logits(model), their_logits(oracle), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_weights_load_into_hugging_face(tmp_path, kind):
    """from_pretrained of what we write gives equal logits and misses no key; bf16 is written as bf16."""
    models.write_checkpoint(tmp_path / "a", kind, tie_word_embeddings=kind != "qwen3")
    model = load_model(tmp_path / "a", dtype=torch.float32, device="cpu")
    for dtype in (torch.float32, torch.bfloat16):
        out = tmp_path / str(dtype)
        out.mkdir()
        shutil.copy(tmp_path / "a/config.json", out)
        save_weights(model, out, dtype=dtype)
        written = load_file(out / "model.safetensors")
        assert {tensor.dtype for tensor in written.values()} == {dtype}
        assert ("lm_head.weight" in written) == (kind == "qwen3")
        oracle, info = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
        ours = our_logits(load_model(out, dtype=torch.float32, device="cpu"))
        torch.testing.assert_close(ours, their_logits(oracle), atol=1e-4, rtol=0)
        if dtype == torch.float32:
            assert torch.equal(ours, our_logits(model))


def test_master_weights_come_first(tmp_path):
    """Training resumes from fp32, not from the bf16 rounding beside it; sampling may ask for what is published."""
    models.write_checkpoint(tmp_path, "qwen2")
    model = load_model(tmp_path, dtype=torch.float32, device="cpu")
    save_weights(model, tmp_path, dtype=torch.bfloat16)
    save_weights(model, tmp_path, dtype=torch.float32, name="trainer/master.safetensors")
    exact, rounded = (load_model(tmp_path, dtype=torch.float32, device="cpu", master=flag) for flag in (True, False))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, exact.get_parameter(name))
        assert torch.equal(parameter.bfloat16().float(), rounded.get_parameter(name))
    assert weight_files(tmp_path, master=True) == [tmp_path / "trainer/master.safetensors"]
    assert load_model(tmp_path, dtype=torch.bfloat16, device="cpu").head_weight.dtype == torch.bfloat16


def test_buffers_and_copies_of_a_tied_head_are_left_out(tmp_path):
    """Older files carry rotary buffers, and some a copy of the tied head."""
    models.write_checkpoint(tmp_path, "qwen2")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    embedding = tensors["model.embed_tokens.weight"]
    extra = {"lm_head.weight": embedding.clone(), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}
    save_file(tensors | extra, path)
    model = load_model(tmp_path, dtype=torch.float32, device="cpu")
    assert torch.equal(model.head_weight, embedding)


def test_end_tokens_in_their_order_of_authority(tmp_path):
    """generation_config.json first, then config.json, then the tokenizer's own; one id or several."""
    models.write_checkpoint(tmp_path, "llama")
    generation, config = tmp_path / "generation_config.json", tmp_path / "config.json"
    generation.write_text(json.dumps({"eos_token_id": [7, 5, 7]}))
    assert end_tokens(tmp_path) == (7, 5) == Tokenizer.load(tmp_path).end_tokens
    generation.write_text(json.dumps({"temperature": 0.6}))
    assert end_tokens(tmp_path, {"eos_token_id": 9}) == (9,)
    assert end_tokens(tmp_path) == (1,)
    config.write_text(json.dumps({**json.loads(config.read_text()), "eos_token_id": None}))
    assert end_tokens(tmp_path) == ()
    assert Tokenizer.load(tmp_path).end_tokens == (1,)
    generation.write_text(json.dumps({"eos_token_id": "</s>"}))
    with pytest.raises(InputError, match="eos_token_id is '</s>', expected a token id"):
        end_tokens(tmp_path)


def edit(name, **changes):
    def change(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({key: v for key, v in (content | changes).items() if v != "REMOVED"}))

    return change


def edit_tensors(**changes):
    def change(folder):
        tensors = load_file(folder / "model.safetensors") | {key.replace("__", "."): v for key, v in changes.items()}
        save_file({key: v for key, v in tensors.items() if v is not None}, folder / "model.safetensors")

    return change


def truncate(name):
    def change(folder):
        (folder / name).write_bytes((folder / name).read_bytes()[:-1000])

    return change


def remove_shard(folder):
    models.write_checkpoint(folder, "qwen2", shard="40KB")
    (folder / "model.safetensors").unlink()
    sorted(folder.glob("model-*.safetensors"))[1].unlink()


DAMAGE = {
    "config.json": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "broken config": (lambda folder: (folder / "config.json").write_text('{"a":'), "config.json: not readable as JSON"),
    "list config": (lambda folder: (folder / "config.json").write_text("[]"), "expected a JSON object, found list"),
    "incomplete config": (edit("config.json", hidden_size="REMOVED"), "config.json: hidden_size is missing"),
    "architecture": (
        edit("config.json", architectures=["GPT2LMHeadModel"]),
        "GPT2LMHeadModel is not supported; known are Qwen2ForCausalLM, Qwen3ForCausalLM, Llama",
    ),
    "no architecture": (edit("config.json", architectures=None), "architecture None is not supported"),
    "weights": (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
    "shard": (remove_shard, r"no model-00002-of-\d+.safetensors, one of the \d+ shards"),
    "cut off": (truncate("model.safetensors"), "model.safetensors: not a whole safetensors file"),
    "shape": (edit("config.json", intermediate_size=100), r"shape \[.*96.*\], expected \[.*100.*\] from config.json"),
    "missing": (edit_tensors(model__norm__weight=None), "tensor model.norm.weight missing from model.safetensors"),
    "several missing": (edit("config.json", num_hidden_layers=3), r"model.layers.2.* and 11 more missing"),
    "unexpected": (edit_tensors(model__extra__weight=torch.ones(2)), "unexpected tensor model.extra.weight"),
    "head of a tied model missing": (edit("config.json", tie_word_embeddings=False), "lm_head.weight missing"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_folders_are_refused_in_one_line(tmp_path, damage):
    """Each way in which a folder can be wrong has its own message, naming the folder and what is amiss."""
    models.write_checkpoint(tmp_path, "qwen2")
    change, message = DAMAGE[damage]
    change(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load_model(tmp_path, dtype=torch.float32, device="cpu")
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_folder_that_is_not_there(tmp_path):
    """A mistyped path says so, instead of naming a file inside of it."""
    with pytest.raises(InputError, match="nowhere: no such model folder"):
        read_config(tmp_path / "nowhere")


def test_wrong_folder_leaves_a_model_as_it_was(tmp_path):
    """Refreshing a living model from a damaged folder must not leave half of it replaced."""
    models.write_checkpoint(tmp_path / "good", "qwen3")
    models.write_checkpoint(tmp_path / "bad", "qwen3", seed=1)
    edit_tensors(model__norm__weight=None)(tmp_path / "bad")
    model = load_model(tmp_path / "good", dtype=torch.float32, device="cpu")
    before = {name: value.clone() for name, value in model.named_parameters()}
    with pytest.raises(InputError, match=r"model\.norm\.weight"):
        load_weights(model, tmp_path / "bad", master=False)
    assert all(torch.equal(before[name], value) for name, value in model.named_parameters())


def test_weights_that_cannot_be_written(tmp_path):
    """A full disk or a missing right is one line, not a traceback."""
    models.write_checkpoint(tmp_path, "qwen2")
    model = load_model(tmp_path, dtype=torch.float32, device="cpu")
    (tmp_path / "file").write_text("")
    with pytest.raises(R1Error, match="could not write the weights") as caught:
        save_weights(model, tmp_path / "file", dtype=torch.float32)
    assert "\n" not in str(caught.value)
