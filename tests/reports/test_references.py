"""Real pictures with and without their masks, against Pillow's own arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ti_trainer import BadInput, Concept
from ti_trainer.reports.references import find_references, read_references


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A red and a blue picture; the red one has an empty caption, and a mask of its left half."""
    for name, colour in (("1", "red"), ("2", "blue")):
        Image.new("RGB", (60, 40), colour).save(tmp_path / f"{name}.png")
    mask = Image.new("L", (60, 40))
    mask.paste(255, (0, 0, 30, 40))
    mask.save(tmp_path / "1.mask.png")
    (tmp_path / "1.txt").write_text("")
    return tmp_path


def read(concept: Concept, size: int = 20) -> list[np.ndarray]:
    return [np.asarray(image) for image in read_references(find_references(concept), concept.alpha_color, size)]


def test_what_a_mask_leaves_out_is_black(folder: Path) -> None:
    red, blue = read(Concept("<x>", str(folder)))
    assert red.shape == blue.shape == (20, 20, 3)
    assert (red[:, :7] == (255, 0, 0)).all()
    assert (red[:, 13:] == 0).all()
    assert (blue == (0, 0, 255)).all()


def test_pictures_without_masks(folder: Path) -> None:
    red, _ = read(Concept("<x>", str(folder), masks="none"))
    assert (red == (255, 0, 0)).all()


def test_a_folder_of_masks(folder: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.new("L", (60, 40), 255).save(masks / "7.png")
    with pytest.raises(BadInput, match="not one picture has such a mask; name the masks like their pictures"):
        find_references(Concept("<x>", str(folder), masks=str(masks)))
    (masks / "7.png").rename(masks / "2.png")
    examples = find_references(Concept("<x>", str(folder), masks=str(masks)))
    assert [example.mask is not None for example in examples] == [False, True]


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no pictures"):
        find_references(Concept("<x>", str(tmp_path)))
