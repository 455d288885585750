"""Safetensors files written as a stream: the header first, then one tensor after the other.

The library's own writer wants all tensors at once, as bytes besides: several times the model in memory. Reading is the
library's. Which tensors go into which file is trainer_files.py's business.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
WRITTEN = 2**24  # elements that are converted and written at a time


def write(
    path: Path, shapes: Mapping[str, Sequence[int]], dtype: torch.dtype, tensors: Iterable[tuple[str, Tensor]]
) -> None:
    """Writes the tensors, which must come in the order of `shapes`, cast to `dtype`.

    Raises OSError when the file can't be written.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + torch.Size(shape).numel() * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    values = iter(tensors)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for expected, shape in shapes.items():
            name, tensor = next(values)
            if name != expected or tuple(tensor.shape) != tuple(shape):
                raise ValueError(f"tensor {name} {list(tensor.shape)} where {expected} {list(shape)} was announced")
            append(file, tensor, dtype)
            del tensor  # before the next one is made


def append(file: BinaryIO, tensor: Tensor, dtype: torch.dtype) -> None:
    """Writes a tensor's elements in row order, little-endian, as every platform of torch holds them."""
    for part in tensor.detach().reshape(-1).split(WRITTEN):
        file.write(memoryview(part.to(device="cpu", dtype=dtype).contiguous().view(torch.uint8).numpy()))
