from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ti_trainer.config.concept import Concept
from ti_trainer.data.examples import Example
from ti_trainer.data.images import read_image
from ti_trainer.data.masks import read_mask
from ti_trainer.data.scanning import load_examples
from ti_trainer.errors import BadInput

WIDTH, HEIGHT = 12, 8

# The upright picture is red left of column 4, and the mask says that this is the subject.
UPRIGHT = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
UPRIGHT[:, :4] = (255, 0, 0)
SUBJECT = UPRIGHT[..., 0]

# How an upright array is stored under EXIF's orientation (EXIF 2.32, tag 274), in numpy's words.
STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def load(folder: Path, masks: str = "auto") -> Example:
    (example,), _ = load_examples(Concept("<cat>", str(folder), masks=masks), False)
    return example


def save(folder: Path, orientation: int, mask: np.ndarray) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(STORED[orientation](UPRIGHT))).save(folder / "x.png", exif=exif)
    Image.fromarray(np.ascontiguousarray(mask)).save(folder / "x.mask.png")


@pytest.mark.parametrize("orientation", STORED)
def test_mask_painted_on_the_upright_picture(tmp_path: Path, orientation: int) -> None:
    save(tmp_path, orientation, SUBJECT)
    example = load(tmp_path)
    assert np.array_equal(np.asarray(read_image(example.picture)), UPRIGHT)
    assert np.array_equal(np.asarray(read_mask(example)), SUBJECT)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_mask_that_lies_on_its_side_like_the_file(tmp_path: Path, orientation: int) -> None:
    save(tmp_path, orientation, STORED[orientation](SUBJECT))
    assert np.array_equal(np.asarray(read_mask(load(tmp_path))), SUBJECT)


def test_mask_from_the_alpha_channel(tmp_path: Path) -> None:
    alpha = np.where(SUBJECT, 255, 51).astype(np.uint8)
    Image.fromarray(np.dstack([UPRIGHT, alpha])).save(tmp_path / "x.png")
    mask = read_mask(load(tmp_path, "alpha"))
    assert mask is not None
    assert np.array_equal(np.asarray(mask), alpha)
    assert read_mask(load(tmp_path)) is None


@pytest.mark.parametrize("kind", ["1", "L", "P", "RGB", "I;16", "LA", "RGBA", "coloured"])
def test_masks_of_every_kind(tmp_path: Path, kind: str) -> None:
    """Black and white in all modes, white on nothing, and a subject painted in blue."""
    Image.fromarray(UPRIGHT).save(tmp_path / "x.png")
    mask = Image.fromarray(SUBJECT)
    if kind == "I;16":
        mask = Image.fromarray(SUBJECT.astype(np.uint16) * 257)
    elif kind in ("LA", "RGBA"):
        mask = Image.fromarray(np.dstack([np.full_like(SUBJECT, 255), SUBJECT])).convert(kind)
    elif kind == "coloured":
        mask = Image.fromarray(UPRIGHT[..., ::-1].copy())
    else:
        mask = mask.convert(kind)
    mask.save(tmp_path / "x.mask.png")
    found = read_mask(load(tmp_path))
    assert found is not None
    assert found.mode == "L"
    assert np.array_equal(np.asarray(found), SUBJECT)


def test_mask_of_another_size_is_scaled(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "x.png")
    for factor in (2, 3):
        Image.fromarray(SUBJECT.repeat(factor, 0).repeat(factor, 1)).save(tmp_path / "x.mask.png")
        mask = read_mask(load(tmp_path))
        assert mask is not None
        assert mask.size == (WIDTH, HEIGHT)
        away_from_the_edge = [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]
        assert np.array_equal(np.asarray(mask)[:, away_from_the_edge], SUBJECT[:, away_from_the_edge])


def test_masks_in_a_folder(tmp_path: Path) -> None:
    """By the path of the picture or by its name; "none" reads not even those beside the pictures."""
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    (tmp_path / "sub").mkdir()
    Image.fromarray(UPRIGHT[:, ::-1].copy()).save(tmp_path / "sub" / "b.png")
    (tmp_path / "masks" / "sub").mkdir(parents=True)
    Image.fromarray(SUBJECT).save(tmp_path / "masks" / "a.mask.png")
    Image.fromarray(SUBJECT[:, ::-1].copy()).save(tmp_path / "masks" / "sub" / "b.png")
    Image.fromarray(SUBJECT).save(tmp_path / "a.mask.png")
    examples, notes = load_examples(Concept("<cat>", str(tmp_path), masks=str(tmp_path / "masks")), False)
    assert [Path(example.picture.name).name for example in examples] == ["a.png", "b.png"]
    assert [np.asarray(read_mask(example)).argmax(1)[0] for example in examples] == [0, 8]
    assert notes == []
    examples, _ = load_examples(Concept("<cat>", str(tmp_path), masks="none"), True)
    assert {example.mask for example in examples} == {None}


def test_black_mask_leaves_its_picture_out_when_asked(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    Image.fromarray(UPRIGHT).save(tmp_path / "b.jpg")
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "a.mask.png")
    with pytest.raises(BadInput, match=r"a\.mask\.png: the mask is black"):
        load_examples(Concept("<cat>", str(tmp_path)), False)
    (example,), notes = load_examples(Concept("<cat>", str(tmp_path)), True)
    assert Path(example.picture.name).name == "b.jpg"
    assert notes[0].startswith("left out: ")
