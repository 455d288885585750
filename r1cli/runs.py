"""Run directories: what is on disk, how a step is published, and which step is the truth.

A run is `run.json`, folders `step-000012` in Hugging Face format (`trainer/` beside the weights), the links `latest`
and `reference`, and `metrics.jsonl`. Everything is published by rename: a crash leaves the last saved step and nothing
half written. Weights are opaque here (backend/checkpoint.py knows them); so is training.
"""

import fcntl
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from r1cli.atomic import discard, point, replace_file, sync_tree
from r1cli.errors import InputError, R1Error, nearest, nearest_file
from r1cli.history import State, append_metrics, repair_metrics
from r1cli.records import digest

__all__ = ["Run", "State", "hub_folder", "locate", "replace_file"]

LOCK_SECONDS = 2.0
BASES = {"tiny": "checkpoint", "tiny-student": "student"}  # what ships: by name, its folder in r1cli/tiny
STEP = re.compile(r"step-(\d{6,})$")


class Run(NamedTuple):
    """A run directory that exists: its path and what run.json holds."""

    path: Path
    config: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Opens a run; raises InputError when the folder is none, or its run.json says what nobody can do."""
        from r1cli import runfile  # its tables of settings: only who opens a run pays for them

        try:
            config = json.loads((path / "run.json").read_bytes())
            runfile.check(config, path / "run.json")
        except FileNotFoundError:
            raise InputError(f"{path} is not a run directory (no run.json); make one with r1 init {path}") from None
        except (ValueError, OSError) as error:
            raise InputError(f"cannot read {path / 'run.json'}: {error}") from None
        return cls(path.resolve(), config)

    @property
    def id(self) -> str:
        """The run's uuid."""
        return self.config["run"]

    @property
    def base_name(self) -> str:
        """What others know the base by: a hub id, or the path of its folder."""
        name, path = self.config["base"]["name"], self.config["base"]["path"]
        return name if f"models--{name.replace('/', '--')}" in Path(path).parts else path

    def defaults(self, command: str) -> dict[str, Any]:
        """The hyper-parameters that run.json carries for a command."""
        return self.config.get("defaults", {}).get(command, {})

    def step_folder(self, step: int) -> Path:
        """Where the given step is, or would be."""
        return self.path / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """The published steps, in order."""
        found = (STEP.match(entry.name) for entry in self.path.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def latest(self) -> Path:
        """The folder of the current step; raises R1Error when the link is broken."""
        folder = (self.path / "latest").resolve()
        if not folder.is_dir():
            steps = self.steps()
            newest = steps[-1] if steps else 0
            advice = f"r1 rollback {self.path} --to {newest} makes step {newest} the current one"
            raise R1Error(f"{self.path}: the link `latest` is missing or broken; {advice}")
        return folder

    def reference(self, state: State) -> Path:
        """The folder of a state's KL reference; the link of that name is for people."""
        return self.step_folder(state.reference)

    def state(self) -> State:
        """The state committed with the current step."""
        return self.state_at(self.latest())

    def state_at(self, folder: Path) -> State:
        """The state committed with a step's folder; step-000000 needs no file."""
        file = folder / "trainer" / "state.json"
        try:
            return State.load(file)
        except FileNotFoundError:
            if folder.name == "step-000000":
                return State(version=digest(self.id))
            raise R1Error(f"{file} is missing; r1 rollback to an older step") from None
        except (OSError, ValueError, TypeError) as error:
            raise R1Error(f"cannot read {file} ({error}); r1 rollback to an older step") from None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the run for writing, with what a crash left behind put right.

        Raises R1Error when another process holds it or it can't be written.
        """
        with self._hold():
            self._recover()
            yield

    @contextmanager
    def _hold(self) -> Iterator[None]:
        try:
            fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise R1Error(f"cannot write to {self.path}: {error.strerror}") from None
        try:
            self._wait_for_lock(fd)
            with suppress(OSError):  # on a full disk nobody's name stands there
                os.truncate(fd, 0)
                os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            try:
                yield
            finally:
                with suppress(OSError):
                    os.truncate(fd, 0)
        finally:
            os.close(fd)

    def _wait_for_lock(self, fd: int) -> None:
        # A process that was killed takes a moment to let go of what it held.
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
            holder = os.pread(fd, 100, 0).decode(errors="replace").strip() or "another process"
            served = (self.path / "serve.json").exists()
            advice = f"stop it with r1 serve {self.path} --stop" if served else "try again when it is done"
            raise R1Error(f"{self.path} is in use by {holder}; {advice}")

    def _recover(self) -> None:
        """Makes everything agree with `latest`, which alone says where the run stands."""
        state = self.state()
        try:
            for left in (*self.path.glob("step-*.part"), *self.path.glob("step-*.gone")):
                shutil.rmtree(left, ignore_errors=True)
            for step in self.steps():
                if step > state.step:  # renamed, but never made the current one; or left over from a rollback
                    discard(self.step_folder(step))
            if os.readlink(self.path / "reference") != self.reference(state).name:
                point(self.path / "reference", self.reference(state).name)
            repair_metrics(self.path, state)
        except OSError as error:
            raise R1Error(f"cannot write to {self.path}: {error.strerror or error}") from None

    def publish(self, state: State, write: Callable[[Path], None], *, keep: int) -> None:
        """Publishes a step: write(folder) fills a .part folder, which is synced and renamed, then `latest` is flipped.

        Raises R1Error when the disk refuses; the run then stands where it stood.
        """
        final = self.step_folder(state.step)
        part = final.with_name(final.name + ".part")
        try:
            # An earlier try may have failed after the flip, when only the last sync was missing.
            if self.latest() != final:
                shutil.rmtree(part, ignore_errors=True)
                (part / "trainer").mkdir(parents=True)
                write(part)
                (part / "trainer" / "state.json").write_text(json.dumps(state._asdict()))
                sync_tree(part)
                if final.exists():
                    discard(final)
                part.rename(final)
            point(self.path / "latest", final.name)
            point(self.path / "reference", self.reference(state).name)
        except (OSError, R1Error) as error:
            shutil.rmtree(part, ignore_errors=True)
            reason = (isinstance(error, OSError) and error.strerror) or error
            raise R1Error(
                f"step {state.step} could not be saved: {reason}; {self.path} stands at {self.latest().name}; "
                "run the same command again when that is put right"
            ) from None
        self.prune(keep, state)

    def prune(self, keep: int, state: State) -> None:
        """Removes all but the newest `keep` steps, what the state needs and step 0; keep 0 keeps all."""
        steps = self.steps()
        for step in steps[:-keep] if keep else []:
            if step not in (0, state.step, *state.needed):
                with suppress(OSError):  # it stays a little longer; the step itself is safe
                    discard(self.step_folder(step))

    def append_metrics(self, metrics: list[dict[str, Any]]) -> None:
        """Appends update records to metrics.jsonl; raises R1Error when the disk refuses."""
        try:
            append_metrics(self.path, metrics)
        except OSError as error:
            raise R1Error(
                f"cannot write {self.path / 'metrics.jsonl'}: {error.strerror}; run the same command again when that "
                "is put right"
            ) from None

    def go_back(self) -> State:
        """The state of the current step, with metrics.jsonl cut there: what counts after an update that failed."""
        self._recover()
        return self.state()

    def rollback(self, step: int) -> None:
        """Makes an older published step the current one; later steps are removed, their metrics kept aside.

        Raises InputError for a step that is not there, R1Error when it lacks its KL reference.
        """
        with self._hold():
            folder = self.step_folder(step)
            if not folder.is_dir():
                known = ", ".join(map(str, self.steps()))
                raise InputError(f"{self.path} has no step {step}; it has {known} (see --keep and --save-every)")
            state = self.state_at(folder)
            if not self.reference(state).is_dir():
                raise R1Error(f"the KL reference of step {step} (step {state.reference}) is gone")
            point(self.path / "latest", folder.name)
            self._recover()


def locate(name: str) -> tuple[Path, Run | None]:
    """The folder that CKPT names, and its run if any: a base that ships, a run, a model folder, a hub id in the cache.

    Raises InputError when it is none of these.
    """
    path = Path(name)
    if name in BASES and not path.exists():
        return Path(__file__).parent / "tiny" / BASES[name], None
    if (path / "run.json").is_file():
        run = Run.open(path)
        return run.latest(), run
    if (path / "config.json").is_file():
        return path, None
    if path.name.startswith("step-") and (path.parent / "run.json").is_file() and not path.exists():
        known = ", ".join(map(str, Run.open(path.parent).steps()))
        raise InputError(f"no checkpoint {name}: {path.parent} has the steps {known} (see --keep and --save-every)")
    if path.exists():
        raise InputError(f"{name} is neither a run directory (run.json) nor a model folder (config.json)")
    return hub_folder(name), None


def hub_folder(name: str) -> Path:
    """The folder of a hub model in the local cache; raises InputError when it is not there."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{name.replace('/', '--')}"
    with suppress(OSError):
        folder = cache / "snapshots" / (cache / "refs" / "main").read_text().strip()
        if (folder / "config.json").is_file():
            return folder
    advice = f"; fetch it with: hf download {name}" if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else ""
    near = nearest(name, BASES) or nearest_file(Path(name))
    kinds = "a run (r1 init makes one), a model folder, `tiny`, `tiny-student` or a model in the hub cache"
    raise InputError(f"no checkpoint {name}: not {kinds}{near or advice}")
