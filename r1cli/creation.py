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
from typing import Any

from r1cli.errors import InputError, R1Error
from r1cli.runs import Run

SMALL = 64 << 20  # bytes up to which step-000000 copies the base's files instead of linking to them
OTHER_FORMATS = (".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack")  # weights that are not read


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

    Raises InputError when that exists.
    """
    ignore = shutil.ignore_patterns("trainer", "adapter")
    _make(target, lambda part: shutil.copytree(folder, part, ignore=ignore, dirs_exist_ok=True))


def _make(path: Path, fill: Callable[[Path], Any]) -> None:
    if path.exists():
        raise InputError(f"{path} exists; choose another name or remove it")
    try:
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
