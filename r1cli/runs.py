"""Run directories: what is on disk, how a step is published, and which step is the truth.

A run is `run.json`, folders `step-000012` in Hugging Face format (`trainer/` beside the weights), the links `latest` and
`reference`, and `metrics.jsonl`. Everything is published by rename: a crash leaves the last saved step and nothing half
written. Weights are opaque here (backend/checkpoint.py knows them); so is training.
"""

import fcntl
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from r1cli.errors import InputError, R1Error
from r1cli.records import digest

REMEMBERED = 64  # iterations whose batches and versions a run remembers, for retries and for --max-staleness
SMALL = 64 << 20  # bytes up to which step-000000 copies the base's files instead of linking to them
STEP = re.compile(r"step-(\d{6,})$")


@dataclass(slots=True)
class State:
    """What is committed with a step: both clocks, the question cursor, and what has been applied.

    `step` counts optimizer updates, `iteration` counts grpo-step calls. `version` is a hash chain over the applied
    batches, so that rollouts of a history that was rolled back are not mistaken for current ones.
    """

    step: int = 0
    iteration: int = 0
    cursor: int = 0
    version: str = ""
    reference: int = 0
    applied: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)

    def find_applied(self, batches: set[str]) -> list[dict[str, Any]] | None:
        """The stored metrics of an update that used exactly these batches; InputError when it used only some."""
        for entry in self.applied:
            known = set(entry["batches"])
            if known == batches:
                return entry["metrics"]
            if known & batches:
                twice = ", ".join(sorted(known & batches))
                raise InputError(f"batch {twice} was applied at step {entry['metrics'][-1]['step']}; drop its rollouts")
        return None

    def advance(self, batches: list[str], metrics: list[dict[str, Any]], cursor: int) -> "State":
        """The state after an iteration that applied these batches and wrote these metrics."""
        here = {"iteration": self.iteration, "step": self.step, "version": self.version}
        return State(
            step=metrics[-1]["step"],
            iteration=self.iteration + 1,
            cursor=cursor,
            version=digest(self.version, sorted(batches)),
            reference=self.reference,
            applied=[*self.applied, {"batches": sorted(batches), "metrics": metrics}][-REMEMBERED:],
            history=[*self.history, here][-REMEMBERED:],
        )


@dataclass(slots=True)
class Run:
    """A run directory that exists."""

    path: Path
    config: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Opens a run; raises InputError when the folder is none."""
        try:
            config = orjson.loads((path / "run.json").read_bytes())
        except FileNotFoundError:
            raise InputError(f"{path} is not a run directory (no run.json); make one with r1 init {path}") from None
        except (orjson.JSONDecodeError, OSError) as error:
            raise InputError(f"cannot read {path / 'run.json'}: {error}") from None
        return cls(path.resolve(), config)

    @property
    def id(self) -> str:
        """The run's uuid."""
        return self.config["run"]

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
            raise R1Error(f"{self.path}/latest points to {folder.name}, which is missing; see r1 rollback")
        return folder

    def reference(self) -> Path:
        """The folder of the KL reference."""
        return (self.path / "reference").resolve()

    def state(self) -> State:
        """The state committed with the current step."""
        return self.state_at(self.latest())

    def state_at(self, folder: Path) -> State:
        """The state committed with a step's folder; step-000000 needs no file."""
        try:
            return State(**orjson.loads((folder / "trainer" / "state.json").read_bytes()))
        except FileNotFoundError:
            if folder.name == "step-000000":
                return State(version=digest(self.id))
            raise R1Error(f"{folder}/trainer/state.json is missing; r1 rollback to an older step") from None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the run for writing; raises R1Error when another process does. Left-over .part folders are removed."""
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.read(fd, 100).decode(errors="replace").strip() or "another process"
                raise R1Error(f"{self.path} is being written by {holder}; wait for it, or stop it") from None
            os.truncate(fd, 0)
            os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            for entry in self.path.iterdir():
                if entry.name.endswith((".part", ".gone")) and entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
            self.repair_metrics()
            yield
        finally:
            with suppress(OSError):
                os.truncate(fd, 0)
            os.close(fd)

    def publish(self, state: State, write: Callable[[Path], None], *, keep: int) -> None:
        """Publishes a step: write(folder) fills a .part folder, which is synced and renamed, then `latest` is flipped.

        Raises R1Error when the disk refuses; the run then stands where it stood.
        """
        final = self.step_folder(state.step)
        part = final.with_name(final.name + ".part")
        try:
            shutil.rmtree(part, ignore_errors=True)
            (part / "trainer").mkdir(parents=True)
            write(part)
            (part / "trainer" / "state.json").write_bytes(orjson.dumps(asdict(state)))
            for file in part.rglob("*"):
                if not file.is_symlink():
                    sync(file)
            sync(part)
            if final.exists():  # a step that a rollback left behind
                discard(final)
            part.rename(final)
            point(self.path / "latest", final.name)
            point(self.path / "reference", self.step_folder(state.reference).name)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise R1Error(
                f"step {state.step} could not be saved: {error.strerror or error}; "
                f"{self.path} stands at {(self.path / 'latest').resolve().name}"
            ) from None
        self.prune(keep, state)

    def prune(self, keep: int, state: State) -> None:
        """Removes all but the newest `keep` steps, the reference and step 0; keep 0 keeps all."""
        steps = self.steps()
        for step in steps[:-keep] if keep else []:
            if step not in (0, state.reference, state.step):
                discard(self.step_folder(step))

    def append_metrics(self, metrics: list[dict[str, Any]]) -> None:
        """Appends update records to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("ab") as file:
            file.write(b"".join(orjson.dumps(record) + b"\n" for record in metrics))

    def repair_metrics(self) -> None:
        """Makes metrics.jsonl agree with the current step after a crash.

        Updates that were lost with the crash are moved to metrics.lost.jsonl; those saved but not yet listed are added.
        """
        state = self.state()
        path = self.path / "metrics.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept, lost, listed = [], [], 0
        for line in lines:
            try:
                step = orjson.loads(line)["step"]
            except (orjson.JSONDecodeError, KeyError, TypeError):
                lost.append(line)  # torn by the crash
                continue
            (kept if step <= state.step else lost).append(line)
            listed = max(listed, step) if step <= state.step else listed
        known = [record for entry in state.applied for record in entry["metrics"] if listed < record["step"]]
        if not lost and not known:
            return
        kept += [orjson.dumps(record) + b"\n" for record in known]
        if lost:
            with (self.path / "metrics.lost.jsonl").open("ab") as file:
                file.write(b"".join(line.rstrip(b"\n") + b"\n" for line in lost))
        replace_file(path, b"".join(kept))

    def rollback(self, step: int) -> None:
        """Makes an older published step the current one; later steps are removed, their metrics kept aside."""
        folder = self.step_folder(step)
        if not folder.is_dir():
            known = ", ".join(map(str, self.steps()))
            raise InputError(f"{self.path} has no step {step}; it has {known} (see --keep and --save-every)")
        state = self.state_at(folder)
        if not self.step_folder(state.reference).is_dir():
            raise R1Error(f"the KL reference of step {step} (step {state.reference}) is gone")
        with self.lock():
            point(self.path / "latest", folder.name)
            point(self.path / "reference", self.step_folder(state.reference).name)
            for later in (other for other in self.steps() if other > step):
                discard(self.step_folder(later))
            self.repair_metrics()


def create(path: Path, base: Path, name: str, config: dict[str, Any]) -> Run:
    """Makes a run directory from a base model's folder; raises InputError when the path exists."""
    if path.exists():
        raise InputError(f"{path} exists; choose another name or remove it")
    part = path.with_name(path.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        start = part / "step-000000"
        start.mkdir(parents=True)
        for file in sorted(base.iterdir()):
            if not file.is_file() or file.suffix in (".bin", ".pt", ".pth", ".gguf"):
                continue
            if file.stat().st_size > SMALL:
                (start / file.name).symlink_to(file.resolve())
            else:
                shutil.copyfile(file, start / file.name)
        for link in ("latest", "reference"):
            (part / link).symlink_to("step-000000")
        content = {
            "format": 1,
            "run": str(uuid.uuid4()),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "base": {"name": name, "path": str(base.resolve())},
            **config,
        }
        (part / "run.json").write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
        part.rename(path)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise R1Error(f"cannot make {path}: {error.strerror or error}") from None
    return Run.open(path)


def export(folder: Path, target: Path) -> None:
    """Copies a step's published files (no trainer state) to a new model folder; raises InputError when it exists."""
    if target.exists():
        raise InputError(f"{target} exists; choose another name or remove it")
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        shutil.copytree(folder, part, ignore=shutil.ignore_patterns("trainer"))
        part.rename(target)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise R1Error(f"cannot write {target}: {error.strerror or error}") from None


def locate(name: str) -> tuple[Path, Run | None]:
    """The model folder that CKPT names and its run, if it is one: `tiny`, a run, a model folder or a hub id in the cache.

    Raises InputError when it is none of these.
    """
    path = Path(name)
    if name == "tiny" and not path.exists():
        return Path(__file__).parent / "tiny" / "checkpoint", None
    if (path / "run.json").is_file():
        run = Run.open(path)
        return run.latest(), run
    if (path / "config.json").is_file():
        return path, None
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
    raise InputError(f"no checkpoint {name}: not a run, a model folder, `tiny` or a model in the hub cache{advice}")


def point(link: Path, target: str) -> None:
    """Flips a symbolic link to a sibling by rename."""
    temporary = link.with_name(link.name + ".tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)
    sync(link.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file beside and renames it over the old one."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    sync(part)
    os.replace(part, path)


def discard(folder: Path) -> None:
    """Removes a folder so that no half-removed one is ever seen under its name."""
    gone = folder.with_name(folder.name + ".gone")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def sync(path: Path) -> None:
    """Flushes a file or folder to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
