"""What `lint-imports` cannot say about the package: what lies where, how long it is, and what its import costs.

The order of the rooms and the borders of libraries are contracts in pyproject.toml.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ti_trainer

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "ti_trainer"
FOLDERS = ("ti_trainer", "tests", "sample_data", "benchmarks")

TOP_FILES = {"__init__.py", "__init__.pyi", "__main__.py", "cli.py", "errors.py"}
ROOMS = {
    "commands",
    "app",
    "training",
    "reports",
    "families",
    "data",
    "runs",
    "config",
    "method",
    "embedding_files",
    "files",
}
NAMELESS = {"utils", "common", "helpers"}
PUBLIC = {
    "BadInput",
    "Concept",
    "Diverged",
    "Incomplete",
    "Interrupted",
    "LiveDisplay",
    "ModelConfig",
    "Run",
    "TrainConfig",
    "load_into_pipeline",
    "train",
    "train_all",
}
# each takes a noticeable part of a second to import
HEAVY = {
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "datasets",
    "pyarrow",
    "PIL",
    "numpy",
    "matplotlib",
    "fsspec",
}

MOST_LINES_OF_FILE = 300
MOST_LINES_OF_FUNCTION = 60
MOST_LINES_OF_CLASS = 200


def modules() -> list[Path]:
    """Every module of the package, relative to its folder."""
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def definitions(source: str) -> Iterator[tuple[str, int, int]]:
    """For each function and class its name, its length in lines without decorators, and the most that it may have."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            most = MOST_LINES_OF_CLASS if isinstance(node, ast.ClassDef) else MOST_LINES_OF_FUNCTION
            yield node.name, (node.end_lineno or 0) - node.lineno + 1, most


def loaded_by(code: str) -> set[str]:
    """The packages that a fresh interpreter has loaded after running some code."""
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_top_of_the_package_is_the_doors_and_the_rooms() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert {path.name for path in entries if path.is_file()} == TOP_FILES
    assert {path.name for path in entries if path.is_dir()} == ROOMS


def test_every_module_has_its_test_file() -> None:
    """ti_trainer/a/b.py has tests/a/test_b.py."""
    named = [file for file in modules() if file.name != "__init__.py"]
    wanted = [file.parent / f"test_{file.stem.strip('_')}.py" for file in named]
    missing = [f"tests/{file.as_posix()}" for file in wanted if not (REPOSITORY / "tests" / file).is_file()]
    assert not missing, "\n".join(missing)


def test_nothing_is_too_long() -> None:
    found = []
    for file in modules():
        source = (PACKAGE / file).read_text(encoding="utf-8")
        sizes = [("the file", source.count("\n"), MOST_LINES_OF_FILE), *definitions(source)]
        found += [f"{file}: {name} has {lines} lines, more than {most}" for name, lines, most in sizes if lines > most]
    assert not found, "\n".join(found)


def test_definitions_are_measured() -> None:
    source = "@cache\ndef f():\n    pass\n\n\nclass C:\n    x = 1\n\n    def g(self):\n        return 1\n"
    assert sorted(definitions(source)) == [("C", 5, 200), ("f", 2, 60), ("g", 2, 60)]


def test_no_file_without_a_subject() -> None:
    files = [path.relative_to(REPOSITORY) for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py")]
    nameless = [str(file) for file in files if NAMELESS & {Path(part).stem for part in file.parts}]
    assert nameless == [], "name a file after what it is about"


def test_architecture_page_is_about_this_package() -> None:
    """Every file that docs/architecture.md names is there, and its table has the rooms and no others."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = {f"/{path.relative_to(REPOSITORY).as_posix()}" for path in REPOSITORY.glob("*.*") if path.is_file()}
    files |= {f"/{path.relative_to(REPOSITORY).as_posix()}" for path in PACKAGE.rglob("*.py*")}
    files |= {f"/{path.relative_to(REPOSITORY).as_posix()}" for path in (REPOSITORY / "tests").rglob("*.py")}
    named = set(re.findall(r"`([\w/]+\.(?:py|pyi|toml))`", page))
    examples = {name for name in named if Path(name).stem in ("x", "b", "test_b")}
    lost = [name for name in sorted(named - examples) if not any(file.endswith(f"/{name}") for file in files)]
    assert len(named - examples) > 30
    assert lost == []
    assert set(re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)) == ROOMS


def test_no_import_by_a_name_in_a_text() -> None:
    """`lint-imports` reads import statements: one that is put together at run time would pass it unseen."""
    found = []
    for file in modules():
        for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and node.id == "__import__":
                found.append(f"{file}:{node.lineno}")
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                if any(name.partition(".")[0] == "importlib" for name in names - {"importlib.metadata"}):
                    found.append(f"{file}:{node.lineno}")
    assert found == []


@pytest.mark.parametrize("module", ["ti_trainer", "ti_trainer.cli", "ti_trainer.config.config"])
def test_light_import(module: str) -> None:
    """`ti-trainer --help` answers at once, because importing loads none of the libraries that take seconds."""
    assert loaded_by(f"import {module}") & HEAVY == set()


def test_datasets_is_loaded_only_for_tables() -> None:
    """It takes a second to import, and most people have a folder of pictures."""
    loaded = loaded_by("import ti_trainer.training.jobs, ti_trainer.data.scanning, ti_trainer.reports.dataset_report")
    assert "torch" in loaded
    assert loaded & {"datasets", "pyarrow"} == set()


def test_public_names() -> None:
    assert set(ti_trainer.__all__) == set(dir(ti_trainer)) == PUBLIC
    assert all(getattr(ti_trainer, name).__name__ == name for name in PUBLIC)
    assert all(getattr(ti_trainer, name).__module__.startswith("ti_trainer.") for name in PUBLIC)
    with pytest.raises(AttributeError, match="TrainConfg"):
        ti_trainer.TrainConfg  # noqa: B018
