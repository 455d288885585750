"""What commands see of a backend, and where it is: in this process, resident, or behind the URL of a server.

Nothing heavy is imported here: a client of a resident backend must start in a few hundredths of a second.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from r1cli import ui
from r1cli.errors import InputError
from r1cli.records import Prompt
from r1cli.runs import Run, locate

Prompts = list[Prompt] | None
Lines = Iterable[tuple[bytes, str]]  # without their newline, with their `file:line`


class EngineOptions(NamedTuple):
    """Where and how an engine computes; None picks by what the machine has."""

    device: str | None = None
    threads: int | None = None
    slots: int | None = None
    gradient_checkpointing: bool | None = None
    sampler: str | None = None
    gpu_memory: float | None = None
    sleep: bool | None = None
    engines: int | None = None
    tensor_parallel: int | None = None
    gpus: int | None = None
    hostfile: Path | None = None
    nnodes: int | None = None
    node_rank: int | None = None
    rendezvous: str | None = None
    trainer: str | None = None
    zero: int | None = None
    offload: str | None = None


class Backend(Protocol):
    """The verbs of a backend. All lines are bytes that end in a newline."""

    def sample(self, request: dict[str, Any], prompts: Prompts) -> Iterator[bytes]:
        """Yields rollout lines, a group as soon as it is complete."""

    def grpo_step(self, request: dict[str, Any], lines: Lines) -> Iterator[bytes]:
        """One grpo-step over rewarded rollout lines; yields metrics lines."""

    def sft(self, request: dict[str, Any], lines: Lines, validation: Lines | None) -> Generator[bytes, None, None]:
        """A supervised training on lines of examples, or the rest of one; yields a metrics line per update.

        Closing it between updates saves what was reached, and ends it.
        """

    def distill(self, request: dict[str, Any], prompts: list[Prompt]) -> Generator[bytes, None, None]:
        """An on-policy distillation on prompts, or the rest of one; yields lines and is closed as `sft`."""

    def close(self) -> None:
        """Frees what the backend holds for this client."""


def is_url(name: str) -> bool:
    """Whether a checkpoint's name is the URL of a server."""
    return name[:8].lower().startswith(("http://", "https://"))


def open_backend(
    name: str, options: EngineOptions, *, model: str | None = None, concurrency: int | None = None
) -> Backend:
    """The backend of a checkpoint: a server's at a URL, a client when the run is being served, else an engine here.

    `model` and `concurrency` (requests at a time, 32 unless given) are for a URL. Raises InputError for a checkpoint
    that does not exist and for options that the backend cannot follow, R1Error when the server does not answer or
    serve.json names a backend that is gone.
    """
    set_here = [f"--{name.replace('_', '-')}" for name, value in options._asdict().items() if value is not None]
    if is_url(name):
        from r1cli.backend.remote import Remote

        if set_here:
            raise InputError(f"{name} computes as it was started; {' and '.join(set_here)} can't be set from here")
        return Remote(name, model=model, concurrency=concurrency)
    check_local(name, model=model, concurrency=concurrency)
    path = Path(name)
    if (path / "serve.json").exists():
        from r1cli.backend.client import Client

        if set_here:
            raise InputError(
                f"{name} is being served, and its backend computes as it was started: give {' and '.join(set_here)} "
                "to r1 serve"
            )
        ui.detail(f"{name} is being served: its backend does the work")
        return Client(Run.open(path))
    folder, run = locate(name)
    from r1cli.backend.local import Local

    return Local(folder, run, options)


def open_new(folder: Path, planned: Run, make: Callable[[], Run], options: EngineOptions) -> Backend:
    """An engine here for a run that `make` creates from a model folder, once the backend knows what to do with it."""
    from r1cli.backend.local import Local

    return Local(folder, planned, options, make)


def check_local(name: str, **options: object) -> None:
    """Raises InputError for a checkpoint with options, given by the parameters' names, that only a URL can follow."""
    for option, value in options.items():
        if value is not None:
            raise InputError(f"--{option.replace('_', '-')} is for the URL of a server; {name} is a checkpoint")
