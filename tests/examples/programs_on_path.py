"""Running the example scripts: they call `r1` by its name, here the program under test."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def program_folder(folder, **programs):
    """Makes a folder with an `r1` that runs the program under test, and other programs by the text of their scripts."""
    folder.mkdir(parents=True, exist_ok=True)
    programs = {"r1": f'exec "{sys.executable}" -m r1cli "$@"', **programs}
    for name, text in programs.items():
        script = folder / name
        script.write_text(f"#!/bin/bash\n{text}\n")
        script.chmod(0o755)
    return folder


def run_example(name, *arguments, path, check=0, timeout=1800, **options):
    """Runs examples/NAME with `path` first on PATH; returns the finished process, with text output."""
    environment = {
        **os.environ,
        "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHON": sys.executable,
        "OMP_NUM_THREADS": "1",
        **options.pop("env", {}),
    }
    done = subprocess.run(
        [EXAMPLES / name, *arguments], env=environment, capture_output=True, text=True, timeout=timeout, **options
    )
    assert check is None or done.returncode == check, done.stderr
    return done
