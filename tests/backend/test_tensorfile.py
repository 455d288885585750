"""Safetensors written as a stream, read back by the library itself."""

import weakref

import pytest
import torch
from safetensors.torch import load_file

from r1cli.backend import tensorfile


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_library_reads_what_was_written(tmp_path, dtype, monkeypatch):
    """Several pieces a tensor, views that are not contiguous, names of any length, no tensor at all."""
    monkeypatch.setattr(tensorfile, "WRITTEN", 5)
    tensors = {"a": torch.randn(3, 7), "much.longer": torch.randn(4, 6).T, "vector": torch.randn(11)}
    shapes = {name: value.shape for name, value in tensors.items()}
    tensorfile.write(tmp_path / "file", shapes, dtype, tensors.items())
    found = load_file(tmp_path / "file")
    assert {name: value.shape for name, value in found.items()} == shapes
    assert all(torch.equal(found[name], value.to(dtype)) for name, value in tensors.items())
    tensorfile.write(tmp_path / "empty", {}, dtype, ())
    assert load_file(tmp_path / "empty") == {}


def test_one_tensor_is_held_at_a_time(tmp_path):
    """A model of many gigabytes is saved by a rank that holds a part of it."""
    made: list[weakref.ref] = []

    def tensors():
        for number in range(5):
            assert not any(ref() is not None for ref in made), "an earlier tensor is still held"
            value = torch.full((100,), float(number))
            made.append(weakref.ref(value))
            item = (str(number), value)
            del value
            yield item
            del item

    tensorfile.write(tmp_path / "file", {str(number): (100,) for number in range(5)}, torch.float32, tensors())
    assert load_file(tmp_path / "file")["4"][0] == 4


@pytest.mark.parametrize("wrong", [("b", torch.zeros(2)), ("a", torch.zeros(3))])
def test_what_was_not_announced_is_refused(tmp_path, wrong):
    """The header is on disk before the tensors: a wrong one would become another's bytes."""
    with pytest.raises(ValueError, match="announced"):
        tensorfile.write(tmp_path / "file", {"a": (2,)}, torch.float32, [wrong])
