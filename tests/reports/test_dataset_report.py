"""`ti-trainer dataset`: the figures, what is drawn, and that it refuses what training refuses."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ti_trainer import train
from ti_trainer.config.concept import Concept
from ti_trainer.config.config import TrainConfig
from ti_trainer.config.model import ModelConfig
from ti_trainer.data.examples import Example
from ti_trainer.data.images import Picture
from ti_trainer.embedding_files import Embedding, write_embedding
from ti_trainer.errors import BadInput
from ti_trainer.families import load_family
from ti_trainer.families.facts import read_model_facts
from ti_trainer.reports.dataset_report import (
    DatasetReport,
    report_dataset,
    report_text,
    short_form,
)
from ti_trainer.training.prepare import Session, load_model, prepare


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


@pytest.mark.parametrize(
    ("caption", "settings", "refused"),
    [
        ("a {token}", {}, False),
        ("a cat", {}, True),
        ("red " * 72 + "{token}", {"num_vectors": 3}, False),
        ("red " * 73 + "{token}", {"num_vectors": 3}, True),
        ("red " * 73 + "{token}", {"num_vectors": 3, "long_captions": "chunk"}, False),
        ("{token}, " + "red " * 72 + ", red", {"shuffle_tags": True}, True),
        ("red " * 74 + "{token}", {"init": "file:ROWS"}, True),
        ("red " * 73 + "{token}", {"init": "file:ROWS"}, False),
    ],
)
def test_problems_are_what_training_refuses(
    folder: Path,
    model: Path,
    make_config: Callable[..., TrainConfig],
    caption: str,
    settings: dict[str, Any],
    refused: bool,
) -> None:
    """With two rows in a file, the one of 76 tokens is too long and the one of 75 is not."""
    rows = folder.parent / "rows.safetensors"
    width = load_family(ModelConfig(model=str(model)), torch.device("cpu"), torch.float32).slots[0].width
    write_embedding(Embedding("<old>", {"clip_l": torch.ones(2, width)}), rows, "webui")
    (folder / "small.txt").write_text(caption, encoding="utf-8")
    if "init" in settings:
        settings = {**settings, "init": f"file:{rows}"}
    config = make_config(images=str(folder), templates="person", resolution=32, **settings)
    problems = report_dataset(config)[0].problems
    assert len(problems) == refused
    if not refused:
        prepare(config, partial(load_model, config, torch.device("cpu"), torch.float32))
        return
    assert "small.png" in problems[0]
    with pytest.raises(BadInput, match=r"the caption of .*small\.png"):
        prepare(config, partial(load_model, config, torch.device("cpu"), torch.float32))


def test_models_without_what_is_needed(folder: Path, model: Path, tmp_path: Path) -> None:
    concept = Concept("<my-cat>", str(folder))
    with pytest.raises(BadInput, match=r"model_index\.json is missing"):
        report(concept, tmp_path)
    shutil.copytree(model, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "tokenizer")
    with pytest.raises(BadInput, match="has no tokenizer that can be loaded"):
        report(concept, tmp_path / "model")
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="add model_config"):
        report(concept, tmp_path / "x.safetensors")
    facts = read_model_facts(ModelConfig(model=str(tmp_path / "x.safetensors"), model_config=str(model)))
    assert facts.spec.resolution == 32


def test_short_form() -> None:
    picture = Picture.at(Path("x.png"))
    own = Example(picture, ("a", "b"), (64, 64))
    assert short_form([own]) == "1 picture of 64 x 64, 2 captions"
    others = [Example(picture, ("a",), (10, 20)), Example(picture, ("c",), (9, 9), is_class=True)]
    assert short_form([own, *others]) == "2 pictures of 10 x 20 to 64 x 64, 2 captions, 1 picture of the class"


def test_what_training_says_of_token_resolution_and_masks(folder: Path, model: Path) -> None:
    """The wide picture's subject is at its left, where the middle does not show it."""
    found, _ = report(Concept("cat", str(folder)), model, resolution=34)
    assert [line.partition(";")[0] for line in found.problems] == [
        "'cat' is already a word of clip_l",
        "resolution is 34",
    ]
    left = np.zeros((40, 80), dtype=np.uint8)
    left[:, :10] = 255
    Image.fromarray(left).save(folder / "wide.mask.png")
    for crop, missed in (("centre", 1), ("subject", 0)):
        found, _ = report(Concept("<my-cat>", str(folder)), model, crop=crop)
        assert len([line for line in found.notes if line.endswith('nothing of its mask; add crop="subject"')]) == missed
    assert found.problems == ()
