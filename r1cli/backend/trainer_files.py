"""What a trainer leaves on disk, the same for every kind of trainer and any number of ranks.

trainer/master.safetensors holds the fp32 weights, trainer/optimizer.safetensors Adam's moments (exp_avg.NAME and
exp_avg_sq.NAME, fp32; empty before the first update), trainer/optimizer.json the number of updates. All are written
tensor by tensor, so that memory stays near one tensor. Publishing a folder atomically is runs.py's business.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from r1cli.backend import tensorfile
from r1cli.backend.trainer import Trainer
from r1cli.errors import R1Error

FORMAT = 1
MASTER, MOMENTS, HEADER = "master.safetensors", "optimizer.safetensors", "optimizer.json"
PUBLISHED = "model.safetensors"
KINDS = ("exp_avg", "exp_avg_sq")

Shapes = Mapping[str, Sequence[int]]


def moment_shapes(shapes: Shapes) -> dict[str, Sequence[int]]:
    """Names and shapes of the moments of parameters, in the order of the file."""
    return {f"{kind}.{name}": shape for kind in KINDS for name, shape in shapes.items()}


def save(trainer: Trainer, folder: Path) -> None:
    """Writes the trainer's state; every rank calls it and the first one writes. Raises R1Error on all when it fails."""
    save_trained(trainer, folder / MASTER, trainer.shapes(), trainer.weights())


def save_trained(trainer: Trainer, path: Path, shapes: Shapes, weights: Iterable[tuple[str, Tensor]]) -> None:
    """As `save`, of a trainer that trains these tensors: they go to `path`, their moments beside it."""
    folder = path.parent
    stream(trainer, path, shapes, torch.float32, weights)
    moments = moment_shapes(shapes) if trainer.steps else {}
    stream(trainer, folder / MOMENTS, moments, torch.float32, trainer.moments() if trainer.steps else ())

    def finish() -> None:
        (folder / HEADER).write_text(json.dumps({"format": FORMAT, "steps": trainer.steps}) + "\n")

    alone(trainer, folder / HEADER, finish)


def publish(trainer: Trainer, folder: Path, dtype: torch.dtype) -> None:
    """Writes model.safetensors under Hugging Face's names, without lm_head when tied; called and failing as save."""
    stream(trainer, folder / PUBLISHED, trainer.shapes(), dtype, trainer.weights(dtype))


def stream(
    trainer: Trainer, path: Path, shapes: Shapes, dtype: torch.dtype, tensors: Iterable[tuple[str, Tensor]]
) -> None:
    """Writes one file on the first rank; the others, and the first after an error, only take part in gathering."""
    tensors = iter(tensors)

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensorfile.write(path, shapes, dtype, tensors)

    alone(trainer, path, write, tensors)


def alone(trainer: Trainer, path: Path, write: Callable[[], None], rest: Iterable = ()) -> None:
    """Calls `write` on the first rank, goes through what is left of `rest`, and fails on all ranks or on none."""
    error = None
    if trainer.rank == 0:
        try:
            write()
        except OSError as failure:
            error = f"{path}: could not be written ({failure}); is the disk full?"
    for _ in rest:
        pass
    trainer.agree(error)


@dataclass(slots=True, frozen=True)
class Saved:
    """A trainer's state on disk whose files were found whole and of the right shapes."""

    folder: Path
    steps: int
    file: str = MASTER

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The fp32 weights, one at a time."""
        return read(self.folder / self.file)

    def moments(self) -> Iterator[tuple[str, str, Tensor]]:
        """(kind, parameter's name, value) of every moment; none before the first update."""
        for name, value in read(self.folder / MOMENTS) if self.steps else ():
            kind, _, parameter = name.partition(".")
            yield kind, parameter, value


def read(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a file, one at a time."""
    with safe_open(path, framework="pt") as content:
        for name in content.keys():  # noqa: SIM118 - a safetensors file is not iterable
            yield name, content.get_tensor(name)


def open_saved(folder: Path, shapes: Shapes, trained: str = MASTER) -> Saved:
    """Checks a folder that save wrote against the parameters; raises R1Error when it is missing, torn or of another."""
    try:
        header = json.loads((folder / HEADER).read_text())
        found = {file: layout(folder / file) for file in (trained, MOMENTS)}
    except (OSError, ValueError, SafetensorError) as error:
        raise R1Error(f"{folder}: cannot read the trainer's state ({error}); go back to a step that has it") from error
    if header.get("format") != FORMAT:
        raise R1Error(f"{folder / HEADER}: format {header.get('format')}, expected {FORMAT}; use a matching r1")
    expected = {trained: shapes, MOMENTS: moment_shapes(shapes) if header["steps"] else {}}
    for file, wanted in expected.items():
        wanted = {name: tuple(shape) for name, shape in wanted.items()}
        if found[file] != wanted:
            name = min(name for name in found[file].keys() | wanted.keys() if found[file].get(name) != wanted.get(name))
            sizes = [list(sides[name]) if name in sides else "nothing" for sides in (found[file], wanted)]
            raise R1Error(f"{folder / file}: {name} is {sizes[0]}, expected {sizes[1]}; it belongs to another run")
    return Saved(folder, header["steps"], trained)


def layout(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file's tensors; opening it checks that none of its bytes are missing."""
    with safe_open(path, framework="pt") as content:
        return {name: tuple(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118
