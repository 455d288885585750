"""The machine: Python, processors, memory, room on the disk, GPUs, and programs that are not Python's."""

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from r1cli.doctor.finding import Finding, python
from r1cli.doctor.packages import version

GIB = 1 << 30
LEAST_PYTHON = (3, 11)
LEAST_MEMORY, LEAST_ROOM = 2 * GIB, GIB
_PROBE = """
import json, torch, warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    there = torch.cuda.is_available()
cards = []
for number in range(torch.cuda.device_count() if there else 0):
    free, total = torch.cuda.mem_get_info(number)
    ones = torch.ones(64, 64, device=f"cuda:{number}", dtype=torch.bfloat16)
    right = float((ones @ ones)[0, 0]) == 64
    cards.append([torch.cuda.get_device_name(number), total, free, right])
print(json.dumps({"cuda": torch.version.cuda, "cards": cards, "said": [str(each.message) for each in said]}))
"""


def findings() -> Iterator[Finding]:
    """Yields what needs no library."""
    name, found = f"{platform.system()} {platform.machine()}", platform.python_version()
    old = sys.version_info < LEAST_PYTHON
    yield Finding(
        "python", "broken" if old else "ok", True, f"{found}, {name}", "everything", "use Python 3.11" if old else ""
    )
    if sys.platform == "linux":
        yield Finding("system", "ok", True, platform.release(), "everything")
    else:
        why = f"{name}: no sandbox, no vLLM, no DeepSpeed; all else works"
        yield Finding("system", "ok", True, why, "everything", "use Linux for r1 reward --code and for GPUs")
    cores, total, free = _processors(), _memory("SC_PHYS_PAGES"), available()
    yield Finding("processors", "ok", True, f"{cores}", "sampling and training on the CPU")
    small = 0 < total < LEAST_MEMORY
    yield Finding(
        "memory", "broken" if small else "ok", False, f"{_gib(free)} free of {_gib(total)}",
        "models; what a run takes: r1 serve RUN --plan", "the tiny base needs about 1 GiB" if small else "",
    )  # fmt: skip
    for name, folder in (("disk", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        yield _room(name, folder)


def gpu(quick: bool) -> Finding:
    """The GPUs as torch sees them; with `quick` as the system does."""
    purpose, cards = "models too large for a CPU", cards_here()
    if not cards:
        return Finding("gpu", "absent", False, "no NVIDIA GPU", purpose)
    if quick:
        return Finding("gpu", "ok", False, f"{cards} NVIDIA GPUs", purpose)
    answer = python(_PROBE)
    if answer.code != 0:
        return Finding("gpu", "broken", False, answer.complaint, purpose, "see that nvidia-smi works, then torch")
    seen = json.loads(answer.output.splitlines()[-1])
    if seen["cuda"] is None:
        found = f"{cards} NVIDIA GPUs, and torch {version('torch')} is built for the CPU"
        return Finding("gpu", "broken", False, found, purpose, "install the CUDA build of torch (pytorch.org)")
    if not seen["cards"]:
        why = " ".join(seen["said"]) or "no reason given"
        found = f"torch is built for CUDA {seen['cuda']} and finds no GPU: {why}"
        return Finding("gpu", "broken", False, found, purpose, "update the NVIDIA driver, or take an older torch")
    wrong = [name for name, _, _, right in seen["cards"] if not right]
    if wrong:
        return Finding("gpu", "broken", False, f"{wrong[0]} computes wrong products", purpose, "take it out of use")
    each = [f"{name}, {_gib(free)} free of {_gib(total)}" for name, total, free, _ in seen["cards"]]
    alike = f"{len(each)} x {each[0]}" if len(each) > 1 else each[0]
    return Finding("gpu", "ok", False, f"{alike}; CUDA {seen['cuda']}", purpose)


def cards_here() -> int:
    """How many NVIDIA GPUs the system shows, whatever torch can do with them."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def programs() -> Iterator[Finding]:
    """Yields programs that r1 calls, or that its examples do."""
    for names, purpose, fix in (
        (("jq",), "the examples", "apt install jq, brew install jq"),
        (("ssh", "pdsh"), "r1 serve --hostfile", "apt install openssh-client pdsh"),
    ):
        missing = [name for name in names if not shutil.which(name)]
        found = f"no {' and no '.join(missing)}" if missing else ", ".join(str(shutil.which(name)) for name in names)
        yield Finding("+".join(names), "absent" if missing else "ok", False, found, purpose, fix if missing else "")


def available() -> int:
    """Bytes of memory that programs can still have; 0 where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return _memory("SC_AVPHYS_PAGES")


def _memory(name: str) -> int:
    try:
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _room(name: str, folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    purpose = "runs and checkpoints" if name == "disk" else "sockets, and what slow readers have not taken"
    found = f"{_gib(free)} free in {folder}"
    if not os.access(folder, os.W_OK):
        return Finding(name, "broken", False, f"{folder} can't be written to", purpose, "work in a folder of yours")
    if free < LEAST_ROOM:
        return Finding(name, "broken", False, found, purpose, "make room, or work on another disk")
    return Finding(name, "ok", False, found, purpose)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size else "an unknown amount"
