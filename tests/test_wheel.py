"""The sdist and the wheel: what a package index checks, and that the wheel learns a word without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and, built from that, the wheel."""
    pytest.importorskip("hatchling")
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def test_a_package_index_would_take_them(built: Path) -> None:
    pytest.importorskip("twine")
    files = [str(file) for file in built.iterdir()]
    assert sorted(file[-7:] for file in files) == [".tar.gz", "any.whl"]
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


def test_a_fresh_environment_learns_a_word_from_another_folder(built: Path, tmp_path: Path) -> None:
    """It has nothing but the wheel and, from here, what that depends on; the checkout is out of its reach."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    (own,) = home.rglob("site-packages")
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files are not read
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    where = [str(python), "-c", "import ti_trainer; print(ti_trainer.__file__)"]
    found = subprocess.run(where, check=True, cwd=folder, env=environment, capture_output=True, text=True).stdout
    assert Path(found.strip()).is_relative_to(home)
    train = ["train", "--token", "<my-cat>", "--init", "cat", "--steps", "1", "--batch_size", "1", "--no-plots"]
    subprocess.run([str(python.parent / "ti-trainer"), *train], check=True, cwd=folder, env=environment)
    assert (folder / "runs" / "my-cat" / "my-cat.safetensors").is_file()
