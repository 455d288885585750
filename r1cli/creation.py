"""Making folders that were not there: a run from a base model, a model folder from a run's step.

Either the whole folder appears under its name or nothing does. What is in a run afterwards is runs.py's business.
"""

import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from r1cli.algorithms.settings import GrpoSettings
from r1cli.algorithms.sft_settings import SftSettings
from r1cli.errors import InputError, R1Error, nearest, nearest_file
from r1cli.prompts import sources, templates
from r1cli.runfile import check_defaults
from r1cli.runs import BASES, Run, locate

SMALL = 64 << 20  # bytes up to which step-000000 copies the base's files instead of linking to them
CHOICES = {"seed": 0, "keep": 2, "save_every": 1, "refresh_reference": 400}
# Adapters learn at about ten times the learning rate of whole weights, whatever their rank (with alpha fixed):
# Schulman et al., LoRA Without Regret, 2025. On the tiny base three and ten times do equally well, once far worse.
ADAPTER_RATE = 10
OTHER_FORMATS = (".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack")  # weights that are not read


class NewRun(NamedTuple):
    """A run that is to be made: where, from which model folder (by which name), and what its run.json will say."""

    path: Path
    base: Path
    name: str
    config: dict[str, Any]
    origin: Run | None

    @property
    def planned(self) -> Run:
        """The run as it will be, for those who want to know its settings before it is there."""
        return Run(self.path, self.config)

    def create(self) -> Run:
        """Makes it; raises InputError when the path exists."""
        return create_run(self.path, self.base, self.name, self.config, self.origin)


def plan_run(
    path: Path,
    name: str,
    *,
    task: str | None = None,
    template: str | None = None,
    lora: dict[str, Any] | None = None,
    **choices: Any,
) -> NewRun:
    """A run from the base that `name` names, with what the base brings, a run or not, and what is chosen here.

    `lora` is what run.json says of adapters (rank, alpha, targets), None for a run that trains all weights. `choices`
    are seed, total_steps, keep, save_every and refresh_reference. Raises InputError for a base that is not a
    whole model folder, for a task or template that does not exist, and for a path that names a base that ships.
    """
    if str(path) in BASES:
        raise InputError(f"{path} is the name of a base that ships; give the run another, as in runs/{path}")
    folder, origin = locate(name)
    for needed in ("config.json", "tokenizer.json"):
        if not (folder / needed).is_file():
            raise InputError(f"{folder} has no {needed}; expected a model folder in Hugging Face format")
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} has no weights (model.safetensors, whole or in shards); other formats are not read")
    suits = folder / "r1.json"
    defaults = json.loads(suits.read_text()).get("defaults", {}) if suits.is_file() else {}
    base_task, base_template = defaults.pop("task", None), defaults.pop("template", "r1-zero")
    check_defaults(defaults, suits)
    inherited = origin.config if origin else {}
    defaults = inherited.get("defaults", defaults)
    template = templates.load(template) if template else inherited.get("template", base_template)
    source = inherited.get("source")
    task = task or (None if source else base_task)
    if task in sources.TASKS:
        source = {"task": task}
    elif task is not None:
        if not Path(task).is_file():
            known = ", ".join(sources.TASKS)
            near = nearest(task, sources.TASKS) or nearest_file(Path(task))
            raise InputError(f"no task {task}: expected {known} or a JSONL file of prompts{near}")
        sources.load(Path(task))  # a bad file is found now and not at the first step
        source = {"file": str(Path(task).resolve())}
    total_steps = choices.pop("total_steps", None)
    if total_steps is not None:
        grpo = defaults.setdefault("grpo", {})
        grpo.update(total_steps=total_steps, decay=grpo.get("decay", "linear"))  # a constant rate has no length
    factor = (ADAPTER_RATE if lora else 1) / (ADAPTER_RATE if "lora" in inherited else 1)
    if factor != 1:
        for command, settings in (("grpo", GrpoSettings()), ("sft", SftSettings())):
            own = defaults.setdefault(command, {})
            own["lr"] = own.get("lr", settings.lr) * factor
    config = {"source": source, "template": template, **CHOICES, **choices, "defaults": defaults}
    config |= {"lora": lora} if lora else {}
    return NewRun(path, folder, name, config, origin)


def create_run(path: Path, base: Path, name: str, config: dict[str, Any], origin: Run | None) -> Run:
    """Makes a run directory from a base model's folder, a step of the run `origin` if that is given.

    Raises InputError when the path exists.
    """

    def fill(folder: Path) -> None:
        start = folder / "step-000000"
        start.mkdir()
        for file in sorted(base.iterdir()):
            if file.is_file() and file.suffix not in OTHER_FORMATS:
                _take(file, start / file.name, owned=origin is not None)
        for link in ("latest", "reference"):
            (folder / link).symlink_to("step-000000")
        lineage = {"run": origin.id, "step": base.name} if origin else {}
        content = {
            "format": 1,
            "run": str(uuid.uuid4()),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "base": {"name": name, "path": str(base.resolve()), **lineage},
            **config,
        }
        (folder / "run.json").write_text(json.dumps(content, indent=2) + "\n")

    _make(path, fill)
    return Run.open(path)


def _take(file: Path, target: Path, *, owned: bool) -> None:
    if file.stat().st_size <= SMALL:
        shutil.copyfile(file, target)
    elif not owned:
        target.symlink_to(file.resolve())
    else:
        # A step of another run will be pruned: a second name for its file survives that, a link to it does not.
        try:
            os.link(file.resolve(), target)
        except OSError:
            shutil.copyfile(file, target)


def export(folder: Path, target: Path) -> None:
    """Copies a folder's own files (a step's without trainer/ and adapter/) to a new folder.

    Raises InputError when that exists, or when weights of the folder are not whole.
    """
    for file in sorted(folder.glob("*.safetensors")):
        _check_whole(file)
    ignore = shutil.ignore_patterns("trainer", "adapter")
    _make(target, lambda part: shutil.copytree(folder, part, ignore=ignore, dirs_exist_ok=True))


def _check_whole(file: Path) -> None:
    """Raises InputError unless a safetensors file is as long as its header says; the tensors are not read."""
    try:
        with file.open("rb") as content:
            size = os.fstat(content.fileno()).st_size
            length = int.from_bytes(content.read(8), "little")
            if size < 8 + length:
                raise ValueError(f"{size} bytes, which end in the header")
            header = json.loads(content.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
        if size != expected:
            raise ValueError(f"{size} bytes where its header says {expected}")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f"{file}: not a whole safetensors file ({error}); copy it again") from None


def _make(path: Path, fill: Callable[[Path], Any]) -> None:
    if path.exists():
        raise InputError(f"{path} exists; choose another name or remove it")
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{path.name}.", suffix=".part", dir=path.absolute().parent))
        try:
            fill(part)
            part.chmod(0o755)
            part.rename(path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        raise R1Error(f"cannot make {path}: {error.strerror or error}") from None
