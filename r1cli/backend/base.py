"""What commands see of a backend, and which of its two homes serves a checkpoint: this process or a resident one.

Nothing heavy is imported here: a client of a resident backend must start in a few hundredths of a second.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from r1cli import ui
from r1cli.errors import InputError
from r1cli.records import Prompt
from r1cli.runs import Run, locate

Prompts = list[Prompt] | None


class EngineOptions(NamedTuple):
    """Where and how an engine computes; None picks by what the machine has."""

    device: str | None = None
    threads: int | None = None
    slots: int | None = None
    gradient_checkpointing: bool | None = None


class Backend(Protocol):
    """The verbs of a backend. All lines are bytes that end in a newline."""

    def sample(self, request: dict[str, Any], prompts: Prompts) -> Iterator[bytes]:
        """Yields rollout lines, a group as soon as it is complete."""

    def grpo_step(self, request: dict[str, Any], lines: Iterable[tuple[bytes, str]]) -> Iterator[bytes]:
        """One grpo-step over rewarded rollout lines given with their `file:line`; yields metrics lines."""

    def close(self) -> None:
        """Frees what the backend holds for this client."""


def open_backend(name: str, options: EngineOptions) -> Backend:
    """The backend of a checkpoint: a client when the run is being served, else an engine in this process.

    Raises InputError for a checkpoint that does not exist and for options that a resident backend cannot follow,
    R1Error when serve.json names a backend that is gone.
    """
    path = Path(name)
    if (path / "serve.json").exists():
        from r1cli.backend.client import Client

        set_here = [f"--{name.replace('_', '-')}" for name, value in options._asdict().items() if value is not None]
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
