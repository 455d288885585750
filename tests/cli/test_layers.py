"""The layers of the program, held against the imports that every file really has.

A table of what each part may import of the others, at any depth, and of the packages that it may import.
"""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "r1cli"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))

# The keeper of sandboxed programs starts without site-packages, as a package of its own.
ALONE = ROOT / "rewards" / "sandbox"

# What a part may import of r1cli besides itself and errors. A name with a dot is one module of a part.
PARTS = {
    "errors": set(),
    "terminal": set(),
    "ui": {"terminal"},
    "records": set(),
    "options": set(),
    "atomic": set(),
    "stream": {"ui"},
    "history": {"records", "atomic"},
    "runfile": {"algorithms.settings", "algorithms.sft_settings"},
    "runs": {"records", "atomic", "history", "runfile"},
    "rewards": {"records", "ui", "algorithms.lengths"},
    "filters": {"records", "rewards", "stream", "ui"},
    "evaluation": {"rewards", "records", "__version__"},
    "items": {"stream", "records", "atomic"},
    "plotting": {"stream", "ui", "evaluation"},
    "showing": {"stream", "ui", "terminal", "records", "runs"},
    "creation": {"runs", "runfile", "prompts", "algorithms.settings", "algorithms.sft_settings"},
    "prompts": {"stream", "records", "atomic", "ui", "tiny.task", "rewards.extract"},
    "algorithms": set(),
    "backend": {
        "stream", "ui", "runs", "runfile", "history", "atomic", "records", "prompts", "algorithms", "__version__",
    },
    "commands": {
        "options", "arguments", "stream", "ui", "runs", "runfile", "history", "atomic", "records", "prompts", "rewards",
        "filters", "evaluation", "items", "creation", "doctor", "algorithms.settings", "algorithms.sft_settings",
        "backend.base", "backend.residence", "backend.asking", "backend.planning", "plotting", "showing",
    },
    "doctor": {"backend.protocol", "rewards.sandbox"},
    "tiny": {"prompts", "records", "rewards", "backend"},
    "arguments": {"options"},
    "signatures": {"arguments", "options"},
    "helping": {"signatures", "manual.sources"},
    "manual": {
        "app", "backend.shapes", "helping", "options", "prompts", "rewards.language", "signatures", "usage",
    },
    "usage": {"__version__", "options", "signatures", "helping"},
    "app": {"ui", "commands", "arguments", "usage", "signatures", "helping"},
    "__main__": {"app"},
    "__init__": set(),
}  # fmt: skip

# Packages that are neither ours nor the standard library's.
PACKAGES = {
    "usage": {"typer"},
    "commands": {"orjson"},
    "stream": {"orjson"},
    "items": {"orjson"},
    "prompts": {"orjson", "pyarrow", "datasets", "huggingface_hub", "zstandard"},
    "rewards": {"py3langid", "math_verify", "latex2sympy2_extended", "sympy", "orjson"},
    "filters": {"orjson", "rensa"},
    "evaluation": {"orjson"},
    "plotting": {"matplotlib"},
    "showing": {"tokenizers"},
    "algorithms": {"torch"},
    "backend": {"torch", "numpy", "orjson", "safetensors", "tokenizers", "jinja2", "vllm", "deepspeed", "peft"},
    "tiny": {"torch", "safetensors", "tokenizers"},
}

# What a thin client or a check of settings loads of the backend and the maths: no torch, at any depth of import.
LIGHT = {
    "algorithms.settings", "algorithms.sft_settings", "algorithms.lengths", "backend.base", "backend.client",
    "backend.protocol", "backend.residence", "backend.configfiles", "backend.asking", "backend.remote",
    "backend.completions", "backend.api", "backend.wire", "backend.launch", "backend.layout", "backend.trainers",
    "backend.memory", "backend.planning", "backend.shapes",
}  # fmt: skip
# Quick enough for a module's top anywhere; all other packages only in the heavy parts, elsewhere inside functions.
AT_TOP = {"orjson"}
HEAVY_PARTS = {"backend", "algorithms", "tiny", "usage"}
# Loaded by the pool's worker processes and by nothing else.
IN_WORKERS = {"rewards/maths/symbolic.py"}


def imports(path):
    """Yields (dotted name, whether at module level) for each import of a file."""

    def walk(node, top):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0 or path.parent == ALONE, f"{path}: relative import"
                if child.level == 0:
                    yield from ((f"{child.module}.{alias.name}", top) for alias in child.names)
            yield from walk(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    yield from walk(ast.parse(path.read_text()), True)


def part_of(name):
    return name.removesuffix(".py").partition("/")[0]


def test_the_table_names_what_is_there():
    """A new part must be given a place; one that is gone must leave the table."""
    there = {part_of(name) for name in FILES}
    assert there <= set(PARTS)
    assert set(PARTS) - there <= {"atomic", "history"}
    for parts in PARTS.values():
        assert {part.partition(".")[0] for part in parts} <= set(PARTS) | {"__version__"}


@pytest.mark.parametrize("name", FILES)
def test_imports_of_a_file(name):
    """Only what the table allows; heavy packages never on the way of a light command."""
    part = part_of(name)
    module = name.removesuffix(".py").replace("/", ".")
    for imported, top in imports(ROOT / name):
        first, *rest = imported.split(".")
        if first == "r1cli":
            allowed = PARTS[part] | {part, "errors"}
            assert rest[0] in allowed or ".".join(rest[:2]) in allowed, f"{name} imports {imported}"
        elif first not in sys.stdlib_module_names:
            assert first in PACKAGES.get(part, set()), f"{name} imports {imported}"
            if top and first not in AT_TOP and name not in IN_WORKERS:
                assert part in HEAVY_PARTS and module not in LIGHT, f"{name} imports {imported} at module level"


def test_nobody_imports_transformers():
    """The models are our own code; transformers is only the tests' oracle."""
    for name in FILES:
        assert not [found for found, _ in imports(ROOT / name) if found.startswith("transformers")]


def test_light_modules_import_only_light_ones():
    """What a client loads at module level must not reach torch through a neighbour."""
    for module in LIGHT:
        for imported, top in imports(ROOT / (module.replace(".", "/") + ".py")):
            inner = imported.removeprefix("r1cli.")
            if top and inner.startswith(("backend.", "algorithms.")):
                assert any(inner == light or inner.startswith(light + ".") for light in LIGHT), f"{module}: {imported}"


def test_commands_import_almost_nothing_at_the_top():
    """--help pays for what stands at the top of the command's module."""
    for name in FILES:
        if part_of(name) == "commands":
            for imported, top in imports(ROOT / name):
                if top and imported.partition(".")[0] not in sys.stdlib_module_names:
                    assert imported.rpartition(".")[0] == "r1cli.options" or imported in {
                        "r1cli.options",
                        "r1cli.ui",
                    }, f"{name} imports {imported} at its top"


def test_only_app_imports_commands():
    for name in FILES:
        if part_of(name) not in ("app", "commands"):
            assert not [found for found, _ in imports(ROOT / name) if found.startswith("r1cli.commands")]
    # app loads them by name, one a run
    assert 'import_module(f"r1cli.commands.' in (ROOT / "app.py").read_text()


def test_files_stay_short_and_say_what_they_are_for():
    """No module above 300 lines; each begins with its purpose."""
    for name in FILES:
        text = (ROOT / name).read_text()
        assert text.count("\n") <= 300, name
        assert not text or ast.get_docstring(ast.parse(text)), name
        assert Path(name).stem not in ("utils", "helpers", "common", "misc"), name
