from pathlib import Path

import pytest

from ti_trainer.config import bundled
from ti_trainer.config.bundled import MY_CAT, TINY_SD, resolve, sample_data
from ti_trainer.config.settings import read_yaml
from ti_trainer.errors import BadInput


def test_bundled_pictures_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = Path(resolve(MY_CAT))
    assert found.is_absolute()
    assert sorted(path.name for path in found.glob("*.png")) == [f"{number}.png" for number in range(1, 6)]


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / TINY_SD).mkdir()
    assert resolve(TINY_SD) == TINY_SD
    assert resolve(MY_CAT) != MY_CAT


@pytest.mark.parametrize("path", ["nowhere", "owner/name", "/tmp/nowhere", "tiny-sd/unet", ""])
def test_other_paths_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve(path) == path


def test_installed_package_comes_before_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "ti_trainer"
    beside = package.parent / "sample_data" / "x"
    inside = package / "sample_data" / "x"
    monkeypatch.setattr(bundled, "__file__", str(package / "config" / "bundled.py"))
    beside.mkdir(parents=True)
    assert sample_data("x") == beside
    inside.mkdir(parents=True)
    assert sample_data("x") == inside


def test_configs_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's commands work without a checkout; a file of one's own comes first, and others are left alone."""
    monkeypatch.chdir(tmp_path)
    for name in ("sd15", "sdxl"):
        assert "stable-diffusion" in read_yaml(f"configs/{name}.yaml")["model"]
        assert read_yaml(name) == read_yaml(f"configs/{name}.yaml")
    for path in ("configs/none.yaml", "sdxl.yaml", "../configs/sdxl.yaml", "configs/../configs/sdxl.yaml"):
        with pytest.raises(BadInput, match="cannot be read"):
            read_yaml(path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "sdxl.yaml").write_text("model: mine")
    assert read_yaml("configs/sdxl.yaml") == {"model": "mine"}
    (tmp_path / "sdxl").write_text("model: other")
    assert read_yaml("sdxl") == {"model": "other"}
