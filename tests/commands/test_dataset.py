"""`dataset` on the command line; its figures are tested with reports/."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from ti_trainer.cli import main
from ti_trainer.reports.contact_sheet import CELL, GAP


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, two of them with captions."""
    images = tmp_path / "photos"
    images.mkdir()
    Image.new("RGB", (32, 32), "lime").save(images / "small.png")
    (images / "small.txt").write_text("my {token}", encoding="utf-8")
    Image.new("RGB", (80, 40), "blue").save(images / "wide.png")
    (images / "wide.txt").write_text("red cat, <my-cat>, dog", encoding="utf-8")
    Image.new("RGB", (40, 60), "red").save(images / "zebra.png")
    return images


def test_command(folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    flags = ["--token", "<my-cat>", "--model", str(model), "--sheet", str(sheet)]
    assert main(["dataset", str(folder), *flags, "--resolution", "64"]) == 0
    shown = capsys.readouterr().out
    assert "<my-cat> at 64 pixels" in shown
    assert str(folder / "wide.png") in shown
    with Image.open(sheet) as drawn:
        assert drawn.size[0] == GAP + 3 * (CELL + GAP)
    assert main(["dataset", str(folder), *flags, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [picture["size"] for picture in report["pictures"]] == [[32, 32], [80, 40], [40, 60]]
    assert report["resolution"] == 32


def test_command_on_what_training_refuses(
    folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything is shown, then the exit status says it; also where no picture is left to show."""
    for path in folder.rglob("*.*"):
        path.write_bytes(b"")
    assert main(["dataset", str(folder), "--model", str(model), "--sheet", str(tmp_path / "sheet.png"), "--json"]) == 2
    found = capsys.readouterr()
    assert len(json.loads(found.out)["problems"]) == 3
    assert "training would refuse these pictures: 3 problems" in found.err


def test_settings_of_a_run_are_those_of_train(folder: Path, model: Path, tmp_path: Path) -> None:
    """Settings that change what is shown are flags, with the checks of train; those that only train are none."""
    arguments = ["dataset", str(folder), "--model", str(model), "--sheet", str(tmp_path / "sheet.png"), "--json"]
    arguments += ["--token", "<my-cat>"]
    assert main([*arguments, "--crop", "random", "--crops", "3", "--buckets", "--templates", "style"]) == 0
    for flag in (["--batch_size", "3"], ["--crops", "0"], ["--lean_unet"]):
        with pytest.raises(SystemExit, match="2"):
            main([*arguments, *flag])
