"""The package as it is published: what is in the wheel, and that it works from there alone."""

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from conftest import run_r1

ROOT = Path(__file__).parents[2]
LARGEST = 3_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of what stands in the repository."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "tests", "build", "dist", "*.egg-info", "runs")
    )
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_wheel(wheel):
    """Every module and data file, the licence and the marker of types; small; nothing of the tests."""
    assert wheel.stat().st_size < LARGEST
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        told = next(name for name in names if name.endswith("METADATA"))
        metadata = Parser().parsestr(archive.read(told).decode())
        entry = archive.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    package = [path for path in (ROOT / "r1cli").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {str(path.relative_to(ROOT)) for path in package} <= names
    assert "r1cli/py.typed" in names and any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "examples"))]
    assert "r1 = r1cli.app:main" in entry
    assert metadata["Name"] == "r1-pipes" and metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Version"] == run_r1("--version", check=0).stdout.decode().split()[1]
    assert metadata["Description-Content-Type"] == "text/markdown" and "r1 sample" in metadata.get_payload()
    assert "Typing :: Typed" in metadata.get_all("Classifier")


def test_wheel_works_alone(wheel, tmp_path):
    """Unpacked, without the repository, it makes a run of the base that ships with it and samples."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    alone = {"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path / "site")}}
    run_r1("init", "ckpt", "--from", "tiny", check=0, **alone)
    assert run_r1("sample", "ckpt", "--questions", "1", "--group", "2", check=0, **alone).stdout.count(b"\n") == 2


def test_changelog_knows_the_version():
    """A released version has its section."""
    version = run_r1("--version", check=0).stdout.decode().split()[1]
    assert f"## {version}\n" in (ROOT / "CHANGELOG.md").read_text()
