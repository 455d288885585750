"""Weights on their way to processes of our own: tensors packed into memory that the receivers map.

The memory belongs to no file system, so that it needs no room in /dev/shm and a killed process leaves nothing behind.
"""

import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from r1cli.backend.vllm_worker import ALIGNMENT, Parcel


@contextmanager
def packed(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[Parcel]:
    """A parcel with a copy of the tensors, for as long as it is needed; raises OSError when memory runs out."""
    pairs = list(tensors)
    entries, total = [], 0
    for name, tensor in pairs:
        entries.append((name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), total))
        total += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    descriptor = os.memfd_create("r1-weights", os.MFD_CLOEXEC)
    try:
        # Reserved now: what runs out of memory later is killed without a word.
        os.posix_fallocate(descriptor, 0, max(1, total))
        with mmap.mmap(descriptor, max(1, total)) as memory:
            whole = torch.frombuffer(memory, dtype=torch.uint8)
            for (_, tensor), (*_, offset) in zip(pairs, entries, strict=True):
                part = whole[offset : offset + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
                part.copy_(tensor)
            part = whole = None  # the map can't be closed under a tensor that points into it
        yield Parcel(f"/proc/{os.getpid()}/fd/{descriptor}", tuple(entries))
    finally:
        os.close(descriptor)
