"""Model folders in Hugging Face format: configuration in, safetensors in and out.

Every tensor is accounted for before the first one is copied, so a wrong folder leaves a model as it was. It does not
publish folders atomically (runs.py) or keep optimizer state (optimizer_state.py).
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from r1cli.backend import tensorfile
from r1cli.backend.configfiles import end_tokens, read_json, require_file
from r1cli.backend.model import ModelConfig, Transformer, rope_frequencies
from r1cli.errors import InputError, R1Error

__all__ = ["end_tokens", "load_model", "load_weights", "read_config", "save_weights", "weight_files"]

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
MASTER = "trainer/master.safetensors"
HEAD = "lm_head.weight"  # a model whose head is tied has no parameter of this name
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx")


def read_config(folder: str | Path) -> ModelConfig:
    """The architecture of a model folder; raises InputError for a missing, broken or unknown one."""
    path = require_file(folder, "config.json", "the architecture")
    config = read_json(folder, "config.json")
    try:
        return ModelConfig.from_dict(config, where=str(path))
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]} is missing; expected a whole Hugging Face configuration") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"{path}: a value of it makes no sense ({error})") from None


def weight_files(folder: str | Path, *, master: bool = False) -> list[Path]:
    """The safetensors files that hold the weights; with `master`, the trainer's fp32 copy when there is one.

    Raises InputError when there are none or when a shard of the index is missing.
    """
    folder = Path(folder)
    if master and (folder / MASTER).is_file():
        return [folder / MASTER]
    if (folder / INDEX).is_file() and not (folder / WEIGHTS).is_file():
        index = read_json(folder, INDEX)
        if not isinstance(index.get("weight_map"), dict):
            raise InputError(f"{folder / INDEX}: no weight_map; expected the index of a sharded checkpoint")
        names = sorted(set(index["weight_map"].values()))
        for name in names:
            if not (folder / name).is_file():
                raise InputError(f"{folder}: no {name}, one of the {len(names)} shards in {INDEX}; copy it here")
        return [folder / name for name in names]
    return [require_file(folder, WEIGHTS, "the weights; other formats are not read")]


def load_weights(model: Transformer, folder: str | Path, *, master: bool) -> None:
    """Copies a folder's weights into the model, cast to the model's dtype; raises InputError as read_weights does."""
    parameters = dict(model.named_parameters())
    shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    with torch.no_grad():
        for name, value in read_weights(folder, shapes, master=master):
            parameters[name].copy_(value)


def read_weights(
    folder: str | Path, shapes: Mapping[str, tuple[int, ...]], *, master: bool
) -> Iterator[tuple[str, Tensor]]:
    """A folder's weights, one at a time, for a model whose parameters have these names and shapes.

    Raises InputError, before the first, for a tensor that is missing, unexpected or of a wrong shape; rotary inv_freq
    buffers and the copy of a tied head are left out. With `master`, the trainer's fp32 copy is read when there is one.
    """
    files = weight_files(folder, master=master)
    homes: dict[str, Path] = {}
    for path in files:
        for name, shape in _shapes(path):
            if name.endswith("rotary_emb.inv_freq") or (name == HEAD and HEAD not in shapes):
                continue
            if name not in shapes:
                raise InputError(f"{path}: unexpected tensor {name}; config.json describes a model without it")
            if shape != shapes[name]:
                expected = list(shapes[name])
                raise InputError(f"{path}: tensor {name} has shape {list(shape)}, expected {expected} from config.json")
            homes[name] = path
    missing = [name for name in shapes if name not in homes]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{folder}: tensor {missing[0]}{others} missing from {', '.join(path.name for path in files)}")
    for path in files:
        with safe_open(path, framework="pt") as content:
            for name, home in homes.items():
                if home == path:
                    yield name, content.get_tensor(name)


def _shapes(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor of a safetensors file, from its header."""
    try:
        with safe_open(path, framework="pt") as content:
            for name in content.keys():  # noqa: SIM118 - a safetensors file is not iterable
                yield name, tuple(content.get_slice(name).get_shape())
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); copy it again") from None


def load_model(
    folder: str | Path, *, dtype: torch.dtype, device: str | torch.device, master: bool = True
) -> Transformer:
    """A model with a folder's weights, in `dtype` on `device`; raises InputError as read_config and load_weights do."""
    config = read_config(folder)
    weight_files(folder, master=master)
    # Built without memory first: initialising billions of weights only to overwrite them takes minutes.
    with torch.device("meta"):
        model = Transformer(config)
    model = model.to(dtype).to_empty(device=device)
    model.frequencies = rope_frequencies(config).to(device)
    load_weights(model, folder, master=master)
    return model


def save_weights(model: Transformer, folder: str | Path, *, dtype: torch.dtype, name: str = WEIGHTS) -> None:
    """Writes the weights as one safetensors file under Hugging Face's names, without lm_head when tied.

    Raises R1Error when they can't be written.
    """
    path = Path(folder) / name
    parameters = dict(model.named_parameters())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensorfile.write(path, {key: value.shape for key, value in parameters.items()}, dtype, parameters.items())
    except OSError as error:
        raise R1Error(f"{path}: could not write the weights ({error}); is the disk full?") from None


def published_dtype(folder: str | Path) -> torch.dtype:
    """The dtype that a folder publishes its weights in, from config.json; fp32 where it does not say."""
    config = read_json(folder, "config.json") or {}
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    found = getattr(torch, str(name), None)
    return found if found in (torch.bfloat16, torch.float16) else torch.float32


def copy_side_files(source: Path, target: Path) -> None:
    """Copies what belongs to a model besides its weights: configuration, tokenizer, templates, licence."""
    for file in source.iterdir():
        if file.is_file() and file.suffix not in WEIGHT_SUFFIXES and file.name != INDEX:
            shutil.copyfile(file, target / file.name)
