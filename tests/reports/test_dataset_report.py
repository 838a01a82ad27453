"""`ti-trainer dataset`: the figures, what is drawn, and that it refuses what training refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ti_trainer import train
from ti_trainer.cli import main
from ti_trainer.config.config import Concept, ModelConfig, TrainConfig
from ti_trainer.data.examples import Example
from ti_trainer.data.images import Picture
from ti_trainer.errors import BadInput
from ti_trainer.families.facts import read_model_facts
from ti_trainer.reports.contact_sheet import CELL, GAP, contact_sheet, thumbnail
from ti_trainer.reports.dataset_report import (
    DatasetReport,
    PictureRow,
    report_dataset,
    report_text,
    short_form,
)
from ti_trainer.training.prepare import Session


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures with captions, one of them wide and with a mask of its left half, and one that counts ten times."""
    images = tmp_path / "photos"
    (images / "10_cat").mkdir(parents=True)
    Image.new("RGB", (80, 40), "blue").save(images / "wide.png")
    mask = np.zeros((40, 80), dtype=np.uint8)
    mask[:, :40] = 255
    Image.fromarray(mask).save(images / "wide.mask.png")
    (images / "wide.txt").write_text("red cat, <my-cat>, dog", encoding="utf-8")
    Image.new("RGB", (32, 32), "lime").save(images / "small.png")
    (images / "small.txt").write_text("my {token}", encoding="utf-8")
    Image.new("RGB", (40, 60), "red").save(images / "10_cat" / "many.png")
    return images


def report(concept: Concept, model: Path, **settings: Any) -> tuple[DatasetReport, list[Example]]:
    return report_dataset(TrainConfig(model=str(model), concept=concept, **settings))


def test_figures(folder: Path, model: Path) -> None:
    """The tiny tokenizer knows all these words but two as one token each; a comma is one, the concept has three."""
    concept = Concept("<my-cat>", str(folder), num_vectors=3, templates="person")
    found, examples = report(concept, model)
    assert (found.resolution, found.window) == (32, 75)
    rows = {Path(row.name).name: row for row in found.pictures}
    assert list(rows) == ["small.png", "wide.png", "many.png"]
    assert [example.size for example in examples] == [row.size for row in found.pictures]
    wide = rows["wide.png"]
    assert (wide.size, wide.boxes, wide.mask, wide.repeats) == ((80, 40), ((20, 0, 60, 40),), True, 1)
    assert wide.captions == ("red cat, <my-cat>, dog",)
    assert wide.tokens == 2 + 1 + 3 + 1 + 1
    assert (rows["small.png"].tokens, rows["small.png"].has_token) == (1 + 3, True)
    assert (rows["many.png"].repeats, rows["many.png"].boxes) == (10, ((0, 10, 40, 50),))
    assert len(rows["many.png"].captions) == 16
    assert found.own_captions == 2
    assert found.problems == ()
    assert any("10_cat count 10 times" in note for note in found.notes)
    text = report_text(found)
    assert "3, 12 with repeats" in text
    assert "with the token   3 of 3" in text


def test_captions_without_the_token_or_with_it_cut_off(folder: Path, model: Path) -> None:
    (folder / "small.txt").write_text("a photo", encoding="utf-8")
    (folder / "wide.txt").write_text("red " * 70 + ", {token}, " + "red " * 5, encoding="utf-8")
    concept = Concept("<my-cat>", str(folder), num_vectors=4)
    (problem,) = report(concept, model)[0].problems
    assert "small.png" in problem
    assert "wide.png" not in problem  # 70 words, a comma and 4 rows: the window is full
    shuffled = Concept("<my-cat>", str(folder), num_vectors=4, shuffle_tags=True)
    (problem,) = report(shuffled, model)[0].problems
    assert "wide.png" in problem
    kept = Concept("<my-cat>", str(folder), num_vectors=4, shuffle_tags=True, keep_tags=2, add_token=True)
    assert report(kept, model)[0].problems == ()


@pytest.mark.parametrize("settings", [{}, {"buckets": True}, {"crop": "random", "crops": 3}, {"crop": "subject"}])
def test_shown_is_what_training_shows(
    folder: Path, model: Path, make_config: Callable[..., TrainConfig], sessions: list[Session], settings: dict
) -> None:
    """Size and place of every view, as the micro-conditioning of the prepared data has them."""
    config = make_config(images=str(folder), templates="person", resolution=32, add_token=True, steps=1, **settings)
    train(config)
    rows = report_dataset(config)[0].pictures
    for row, views in zip(rows, sessions[0].data.views, strict=True):
        expected = []
        for left, top, right, _ in row.boxes:
            scale = row.shown[0] / (right - left)
            expected.append((row.size[1], row.size[0], round(top * scale), round(left * scale), *row.shown[::-1]))
        assert list(dict.fromkeys(view.sizes for view in views)) == list(dict.fromkeys(expected))


def test_long_captions_in_chunks_lose_nothing(folder: Path, model: Path) -> None:
    (folder / "wide.txt").write_text("red " * 90 + "{token}", encoding="utf-8")
    concept = Concept("<my-cat>", str(folder))
    (problem,) = report(concept, model)[0].problems
    assert "wide.png" in problem
    assert report(concept, model, long_captions="chunk")[0].problems == ()


def test_models_without_what_is_needed(folder: Path, model: Path, tmp_path: Path) -> None:
    concept = Concept("<my-cat>", str(folder))
    with pytest.raises(BadInput, match=r"model_index\.json is missing"):
        report(concept, tmp_path)
    shutil.copytree(model, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "tokenizer")
    with pytest.raises(BadInput, match="has no tokenizer that can be loaded"):
        report(concept, tmp_path / "model")
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="add --model_config"):
        report(concept, tmp_path / "x.safetensors")
    facts = read_model_facts(ModelConfig(model=str(tmp_path / "x.safetensors"), model_config=str(model)))
    assert facts.spec.resolution == 32


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


def row_of(size: tuple[int, int], box: tuple[float, float, float, float]) -> PictureRow:
    return PictureRow("x", size, (32, 32), (box,), ("a",), 1, True, 1, 1.0, False, False)


def test_thumbnail_shows_frame_and_mask(folder: Path, model: Path) -> None:
    """An 80 x 40 picture in a cell of 192: blue, coloured where the mask is black, grey above and below, a frame."""
    concept = Concept("<my-cat>", str(folder))
    found, examples = report(concept, model)
    picture = np.asarray(thumbnail(found.pictures[1], examples[1], "white")).astype(int)
    assert picture.shape == (CELL, CELL, 3)
    assert (picture[20, 100] == 0xE8).all()
    assert (picture[96, 20] == (0, 0, 255)).all()  # left: the subject
    assert np.abs(picture[96, 180] - (0x58, 0, (255 + 0x60) / 2)).max() <= 1  # right: half blue, half the veil
    assert (picture[96, 48] == (255, 0xD4, 0)).all()  # the frame from 20 / 80 to 60 / 80 of the cell
    assert (picture[96, 143] == (255, 0xD4, 0)).all()


def test_sheet_of_many(folder: Path) -> None:
    """Rows of six; and no more than fit on a sheet."""
    example = Example(Picture.at(folder / "small.png"), ("a",), (32, 32))
    row = row_of((32, 32), (0, 0, 32, 32))
    one, seven, many = (contact_sheet([row] * count, [example] * count, "white") for count in (1, 7, 130))
    assert (one.width, seven.width) == (GAP + CELL + GAP, GAP + 6 * (CELL + GAP))
    assert seven.height - GAP == 2 * (one.height - GAP)
    assert many.height - GAP == 20 * (one.height - GAP)


def test_short_form() -> None:
    picture = Picture.at(Path("x.png"))
    own = Example(picture, ("a", "b"), (64, 64))
    assert short_form([own]) == "1 picture of 64 x 64, 2 captions"
    others = [Example(picture, ("a",), (10, 20)), Example(picture, ("c",), (9, 9), is_class=True)]
    assert short_form([own, *others]) == "2 pictures of 10 x 20 to 64 x 64, 2 captions, 1 picture of the class"
