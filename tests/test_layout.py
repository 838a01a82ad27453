"""The architecture as a test: imports go down the floors and never in a circle, libraries keep to their border."""

import ast
import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "ti_trainer"

# The first part of a file's path within ti_trainer/ says on which floor it lies: `data` is all of data/.
FLOORS = (
    {
        "errors",
        "atomic",
        "live_bytes",
        "wording",
        "text_files",
        "remote",
        "config",
        "settings",
        "together",
        "concept_lists",
        "randomness",
        "captions",
        "schedules",
        "weightings",
        "optimizers",
        "bundled",
        "embedding_files",
    },
    {"placeholders", "initializers", "data"},
    {"families"},
    {
        "objective",
        "validation",
        "previews",
        "evaluation",
        "inspection",
        "conversion",
        "run_folder",
        "storage",
        "processes",
        "signals",
        "dataset_report",
        "contact_sheet",
        "model_facts",
        "memory",
    },
    {"preflight", "prepare", "export", "reporting", "learner", "step", "console", "loop", "jobs"},
    # The package's own __init__ offers `train` and its friends to notebooks: it may know all, and nobody imports it.
    {"cli", "app", "__main__", "__init__"},
)

BORDERS = {
    "diffusers": {"families", "previews", "evaluation", "initializers", "preflight"},
    "transformers": {"families", "previews", "evaluation", "initializers", "preflight", "model_facts"},
    "accelerate": {"loop", "run_folder", "processes"},
    "datasets": {"data"},
    "pyarrow": {"concept_lists"},
    "fsspec": {"remote", "storage", "data"},
    "gradio": {"app"},
}

HEAVY = {"torch", "diffusers", "transformers", "accelerate", "PIL", "numpy", "matplotlib"}

NAMELESS = {"utils", "common", "helpers"}


@dataclass(frozen=True)
class Import:
    """One imported name: `from ti_trainer.data import images` in line 3 gives "ti_trainer.data.images"."""

    file: Path  # relative to the package's folder
    line: int
    name: str


def imports_of(package: Path, file: Path) -> Iterator[Import]:
    """Every import of a file, at whatever depth: in functions and under TYPE_CHECKING too, relative ones resolved."""
    here = [package.name, *file.parent.relative_to(package).parts]

    def absolute(level: int, name: str) -> str:
        return ".".join([*(here[: len(here) - level + 1] if level else []), *filter(None, [name])])

    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node.level, node.module or "")
            names = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
            # A name that is put together at run time cannot be read here; a literal one can.
            literals = [each.value for each in node.args[:1] if isinstance(each, ast.Constant)]
            names = [absolute(len(n) - len(n.lstrip(".")), n.lstrip(".")) for n in literals if isinstance(n, str)]
        else:
            continue
        for name in names:
            yield Import(file.relative_to(package), node.lineno, name)


def imported_file(package: Path, name: str) -> Path | None:
    """The file of the package that a name comes from, or None for another library's name."""
    head, *parts = name.split(".")
    # The version is a constant of the package's __init__, there before any other module is: not a way up.
    if head != package.name or parts == ["__version__"]:
        return None
    # The longest match is the module; what follows it is a function or class in there.
    for length in range(len(parts), -1, -1):
        module = package.joinpath(*parts[:length])
        for candidate in (module / "__init__.py", module.parent / f"{module.name}.py"):
            if candidate.is_file() and candidate.is_relative_to(package):
                return candidate.relative_to(package)
    return None


def floor_of(file: Path) -> int | None:
    """The floor of a file, given relative to the package's folder."""
    return next((floor for floor, names in enumerate(FLOORS) if Path(file.parts[0]).stem in names), None)


def circle_through(edge: Import, edges: dict[Path, dict[Path, Import]], target: Path) -> list[Import] | None:
    """The shortest way of imports from `target` back to the file of `edge`, with `edge` in front; None without one."""
    ways = deque([(target, [edge])])
    seen = {target}
    while ways:
        end, way = ways.popleft()
        if end == edge.file:
            return way
        for following, step in edges.get(end, {}).items():
            if following not in seen:
                seen.add(following)
                ways.append((following, [*way, step]))
    return None


def violations(package: Path) -> list[str]:
    """What a package's imports do that the architecture forbids, each with file and line.

    `package` is the folder that holds the package's __init__.py; its files are parsed, never executed.
    """
    found: list[str] = []
    edges: dict[Path, dict[Path, Import]] = {}  # file -> imported file -> the first import that says so
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        owner = Path(file.parts[0]).stem
        floor = floor_of(file)
        if floor is None:
            found.append(f"{file}:1: lies on no floor; give '{owner}' one in tests/test_floors.py")
        for each in sorted(imports_of(package, path), key=lambda each: each.line):
            library = each.name.split(".")[0]
            if owner not in BORDERS.get(library, {owner}):
                allowed = ", ".join(sorted(BORDERS[library]))
                found.append(f"{file}:{each.line}: imports {library}, which belongs in {allowed} only")
            target = imported_file(package, each.name)
            if target is None:
                continue
            edges.setdefault(file, {}).setdefault(target, each)
            target_floor = floor_of(target)
            if floor is not None and target_floor is not None and target_floor > floor:
                found.append(f"{file}:{each.line}: floor {floor} imports {target}, up on floor {target_floor}")

    circles: dict[frozenset[Path], str] = {}
    for targets in edges.values():
        for target, edge in targets.items():
            circle = circle_through(edge, edges, target)
            if circle:
                way = " -> ".join(f"{step.file}:{step.line}" for step in circle)
                members = frozenset(step.file for step in circle)
                circles.setdefault(members, f"{way} -> {edge.file}: a circle of imports")
    return list(dict.fromkeys([*found, *circles.values()]))  # `import a, b` in one line errs once


def package_of(root: Path, sources: dict[str, str]) -> Path:
    """A made-up ti_trainer with these files, path -> source."""
    package = root / "ti_trainer"
    for name, source in {"__init__.py": "", **sources}.items():
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    return package


def test_architecture() -> None:
    assert PACKAGE.is_dir()
    assert violations(PACKAGE) == []


def test_no_file_without_a_subject() -> None:
    folders = [REPOSITORY / name for name in ("ti_trainer", "tests", "sample_data", "benchmarks")]
    files = [path.relative_to(REPOSITORY) for folder in folders for path in folder.rglob("*.py")]
    nameless = [str(file) for file in files if NAMELESS & {Path(part).stem for part in file.parts}]
    assert nameless == [], "name a file after what it is about"


@pytest.mark.parametrize("module", ["ti_trainer", "ti_trainer.cli"])
def test_light_import(module: str) -> None:
    """`ti-trainer --help` answers at once, because importing loads none of the libraries that take seconds."""
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    loaded = {name.split(".")[0] for name in json.loads(result.stdout)}
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    "source",
    [
        "from ti_trainer.loop import train",
        "from ti_trainer import loop",
        "import ti_trainer.training.loop as loop",
        "from .loop import train",
        "from . import config, loop",
        "def late():\n    from .loop import train",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ti_trainer.loop import Run",
        "from importlib import import_module\nloop = import_module('ti_trainer.training.loop')",
        "import importlib\nloop = importlib.import_module('.loop', __package__)",
    ],
)
def test_import_that_goes_up(tmp_path: Path, source: str) -> None:
    package = package_of(tmp_path, {"captions.py": source, "config.py": "", "loop.py": ""})
    line = source.count("\n") + 1
    assert violations(package) == [f"captions.py:{line}: floor 0 imports loop.py, up on floor 4"]


def test_import_that_goes_up_from_a_folder(tmp_path: Path) -> None:
    sources = {"data/images.py": "\nfrom ..families.sd import load", "families/__init__.py": "", "families/sd.py": ""}
    assert violations(package_of(tmp_path, sources)) == [
        "data/images.py:2: floor 1 imports families/sd.py, up on floor 2"
    ]


def test_the_package_itself_is_the_top(tmp_path: Path) -> None:
    sources = {"__init__.py": "from .loop import train", "loop.py": "", "config.py": "from ti_trainer import train"}
    assert violations(package_of(tmp_path, sources)) == ["config.py:1: floor 0 imports __init__.py, up on floor 5"]


def test_two_files_that_import_each_other(tmp_path: Path) -> None:
    sources = {"config.py": "\nimport ti_trainer.data.captions", "captions.py": "from .config import Concept"}
    assert violations(package_of(tmp_path, sources)) == [
        "captions.py:1 -> config.py:2 -> captions.py: a circle of imports"
    ]


def test_circle_of_three(tmp_path: Path) -> None:
    sources = {
        "data/buckets.py": "from .images import a",
        "data/images.py": "from .examples import b",
        "data/examples.py": "def late():\n    from ti_trainer.data import buckets",
        "data/latents.py": "from .buckets import c",  # leads into the circle, and is no part of it
    }
    assert violations(package_of(tmp_path, sources)) == [
        "data/buckets.py:1 -> data/images.py:1 -> data/examples.py:2 -> data/buckets.py: a circle of imports"
    ]


def test_a_folder_imports_its_files_and_not_the_reverse(tmp_path: Path) -> None:
    sources = {
        "families/__init__.py": "from .sd import StableDiffusion",
        "families/sd.py": "from .base import Family",
        "families/base.py": "",
    }
    assert violations(package_of(tmp_path, sources)) == []
    sources["families/sd.py"] = "from . import FAMILIES, base"
    assert violations(package_of(tmp_path, sources)) == [
        "families/__init__.py:1 -> families/sd.py:1 -> families/__init__.py: a circle of imports"
    ]


@pytest.mark.parametrize(
    ("file", "source", "library"),
    [
        ("schedules.py", "import diffusers", "diffusers"),
        ("loop.py", "from diffusers.schedulers import DDPMScheduler", "diffusers"),
        ("placeholders.py", "def late():\n    from transformers import CLIPTextModel", "transformers"),
        ("objective.py", "if TYPE_CHECKING:\n    import transformers", "transformers"),
        ("families/sd.py", "import os, accelerate.utils", "accelerate"),
        ("config.py", "from datasets import load_dataset", "datasets"),
        ("cli.py", "import gradio as gr", "gradio"),
    ],
)
def test_library_across_its_border(tmp_path: Path, file: str, source: str, library: str) -> None:
    (found,) = violations(package_of(tmp_path, {file: source}))
    line = source.count("\n") + 1
    assert found.startswith(f"{file}:{line}: imports {library}, which belongs in ")


def test_what_is_allowed(tmp_path: Path) -> None:
    sources = {
        "data/examples.py": "import datasets",
        "data/datasets.py": "from .examples import Example",  # its name is a library's; importing it crosses nothing
        "data/batches.py": "from . import datasets",
        "initializers.py": "import transformers\nfrom .config import Concept",
        "config.py": "import torch",
        "families/sd.py": "from diffusers import UNet2DConditionModel\nfrom ti_trainer.initializers import auto",
        "loop.py": "import accelerate\nfrom ti_trainer.families import sd",
        "app.py": "import gradio\nfrom . import loop",
        "embedding_files/metadata.py": "from .. import __version__",
    }
    assert violations(package_of(tmp_path, sources)) == []


def test_file_on_no_floor(tmp_path: Path) -> None:
    assert violations(package_of(tmp_path, {"misc.py": "", "extras/more.py": "import os"})) == [
        "extras/more.py:1: lies on no floor; give 'extras' one in tests/test_floors.py",
        "misc.py:1: lies on no floor; give 'misc' one in tests/test_floors.py",
    ]
