"""The part of the vLLM sampler that lives in vLLM's worker: it takes new weights in place and says which it holds.

vLLM mixes `WeightReceiver` into its worker class, hence the prefix on every name. vLLM itself loads what it is given
and stays silent about what it was not given; this file is the one that counts.
"""

import mmap
import os
from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

# Elements that are summed at once: their int64 copy stays small beside the weights.
BLOCK = 1 << 20
COLUMNS = 1 << 12

INTEGERS = {4: torch.int32, 2: torch.int16}

# Where tensors begin in a parcel: what every vector instruction is content with.
ALIGNMENT = 64

Seal = tuple[str, tuple[int, ...], int]


class Parcel(NamedTuple):
    """Tensors in memory that another process has packed: where it is, and for each its name, dtype, shape and place."""

    path: str
    entries: tuple[tuple[str, str, tuple[int, ...], int], ...]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yields the tensors, which live in that memory; it stays until the last of them is gone."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            # Ours alone if it is ever written to: torch has no tensors that can't be.
            memory = mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE)
        finally:
            os.close(descriptor)
        for name, kind, shape, offset in self.entries:
            dtype = getattr(torch, kind)
            yield name, torch.frombuffer(memory, dtype=dtype, count=prod(shape), offset=offset).view(shape)


def seal(tensor: Tensor) -> Seal:
    """Dtype, shape and checksum of a tensor; the checksum covers every bit and most of the order."""
    bits = tensor.detach().contiguous().view(INTEGERS[tensor.element_size()])
    factors = torch.arange(1, 2 * COLUMNS, 2, dtype=torch.int64, device=tensor.device)
    total = 0
    for number, block in enumerate(bits.flatten().split(BLOCK)):
        whole = len(block) // COLUMNS * COLUMNS
        sums = block[:whole].view(-1, COLUMNS).sum(0, dtype=torch.int64)
        rest = block[whole:].long()
        value = (sums * factors).sum() + (rest * factors[: len(rest)]).sum()
        total = (total * 31 + int(value) + number) & (1 << 64) - 1
    return str(tensor.dtype), tuple(tensor.shape), total


class WeightReceiver:
    """What vLLM's worker gains: weights from memory, checked, with a version that is set last."""

    r1_held: int | None = None

    def r1_take(
        self, tensors: Iterable[tuple[str, Tensor]] | Parcel, expected: dict[str, Seal], version: int
    ) -> str | None:
        """Loads the weights in place; afterwards the worker holds `version`, or none and returns why.

        `expected` has every tensor's seal under its Hugging Face name; a tensor that is missing, unexpected, given
        twice or not the one expected is refused. Nothing is raised: of several workers vLLM would report the first
        that fails, and take the answers of the others for those to the next question.
        """
        self.r1_held = None
        try:
            self._r1_load(tensors.tensors() if isinstance(tensors, Parcel) else tensors, expected)
        except Exception as error:
            return str(error) or type(error).__name__
        self.r1_held = version
        return None

    def _r1_load(self, tensors: Iterable[tuple[str, Tensor]], expected: dict[str, Seal]) -> None:
        """Loads what is as expected; raises ValueError at what is not."""
        seen: dict[str, Seal] = {}

        def received() -> Iterator[tuple[str, Tensor]]:
            for name, tensor in tensors:
                if name in seen:
                    raise ValueError(f"tensor {name} came twice")
                seen[name] = seal(tensor)
                if name not in expected:
                    raise ValueError(f"tensor {name} came unexpected")
                if seen[name] != expected[name]:
                    raise ValueError(f"tensor {name} came as {seen[name]}, expected {expected[name]}")
                yield name, tensor

        self.reload_weights(weights_iterator=received())
        missing = [name for name in expected if name not in seen]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise ValueError(f"tensor {missing[0]}{more} did not come ({len(seen)} of {len(expected)} did)")
        self.r1_repack_head()

    def r1_repack_head(self) -> None:
        """Renews the copy of a tied output projection that vLLM's CPU build packs for its matrix products.

        vLLM renews the packed copies of the layers that it loads, and a tied head is not loaded: it would go on with
        the old weights (vLLM 0.32, CPU).
        """
        head = getattr(self.model_runner.get_model(), "lm_head", None)
        if hasattr(head, "cpu_linear") and self.model_config.hf_config.tie_word_embeddings:
            from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

            dispatch_cpu_unquantized_gemm(head, remove_weight=False)

    def r1_version(self) -> int | None:
        """The version of the weights, None while they are none or half of them."""
        return self.r1_held

    def r1_segments(self) -> list[str]:
        """Files in /dev/shm that this worker shares with the others (vLLM's CPU build, tensor parallel)."""
        with open("/proc/self/maps") as maps:
            paths = {line.split(maxsplit=5)[-1].strip() for line in maps if "/dev/shm/vllm_dist_" in line}
        return sorted(path for path in paths if os.path.exists(path))
