"""What is drawn of each picture, to the pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ti_trainer.data.examples import Example, MaskSource
from ti_trainer.data.images import Picture
from ti_trainer.reports.contact_sheet import (
    CAPTION_LINES,
    CELL,
    GAP,
    LINE,
    TITLE_LINES,
    contact_sheet,
    shortened,
    thumbnail,
)
from ti_trainer.reports.dataset_report import PictureRow


def row_of(
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    caption: str = "a",
    has_token: bool = True,
    is_duplicate: bool = False,
) -> PictureRow:
    return PictureRow(
        name="MMMM",
        size=size,
        shown=(32, 32),
        boxes=(box,),
        captions=(caption,),
        tokens=1,
        has_token=has_token,
        repeats=1,
        weight=1.0,
        mask=False,
        is_class=False,
        is_duplicate=is_duplicate,
    )


def example_of(folder: Path, colour: str, size: tuple[int, int]) -> Example:
    Image.new("RGB", size, colour).save(folder / f"{colour}.png")
    return Example(Picture.at(folder / f"{colour}.png"), ("a",), size)


def test_thumbnail_shows_frame_and_mask(tmp_path: Path) -> None:
    """An 80 x 40 picture in a cell of 192: blue, coloured where the mask is black, grey above and below, a frame."""
    picture = example_of(tmp_path, "blue", (80, 40)).picture
    mask = np.zeros((40, 80), dtype=np.uint8)
    mask[:, :40] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    example = Example(picture, ("a",), (80, 40), mask=MaskSource(Picture.at(tmp_path / "mask.png")))
    shown = np.asarray(thumbnail(row_of((80, 40), (20, 0, 60, 40)), example, "white")).astype(int)
    assert shown.shape == (CELL, CELL, 3)
    assert (shown[20, 100] == 0xE8).all()
    assert (shown[96, 20] == (0, 0, 255)).all()  # left: the subject
    assert np.abs(shown[96, 180] - (0x58, 0, (255 + 0x60) / 2)).max() <= 1  # right: half blue, half the veil
    assert (shown[96, 48] == (255, 0xD4, 0)).all()  # the frame from 20 / 80 to 60 / 80 of the cell
    assert (shown[96, 143] == (255, 0xD4, 0)).all()


def test_pictures_lie_in_rows_of_six(tmp_path: Path) -> None:
    """The middle of each cell has its picture's colour, at the place that its number gives."""
    colours = ("red", "lime", "blue", "yellow", "cyan", "magenta", "black")
    examples = [example_of(tmp_path, colour, (32, 32)) for colour in colours]
    sheet = contact_sheet([row_of((32, 32), (0, 0, 32, 32))] * 7, examples, "white")
    high = CELL + GAP + LINE * (CAPTION_LINES + TITLE_LINES)
    for number, colour in enumerate(colours):
        middle = (GAP + number % 6 * (CELL + GAP) + CELL // 2, GAP + number // 6 * high + CELL // 2)
        assert sheet.getpixel(middle) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))


def test_sheet_of_many(tmp_path: Path) -> None:
    """Rows of six; and no more than fit on a sheet."""
    example = example_of(tmp_path, "lime", (32, 32))
    row = row_of((32, 32), (0, 0, 32, 32))
    one, seven, many = (contact_sheet([row] * count, [example] * count, "white") for count in (1, 7, 130))
    assert (one.width, seven.width) == (GAP + CELL + GAP, GAP + 6 * (CELL + GAP))
    assert seven.height - GAP == 2 * (one.height - GAP)
    assert many.height - GAP == 20 * (one.height - GAP)


@pytest.mark.parametrize(("has_token", "darkest"), [(True, (0, 0, 0)), (False, (0xD0, 0, 0))])
def test_captions_without_the_token_are_red(tmp_path: Path, has_token: bool, darkest: tuple[int, int, int]) -> None:
    """The first line of the caption, beneath the title, has letters of one colour on white."""
    row = row_of((32, 32), (0, 0, 32, 32), "MMMM IIII", has_token)
    sheet = contact_sheet([row], [example_of(tmp_path, "lime", (32, 32))], "white")
    top = GAP + CELL + TITLE_LINES * LINE
    letters = np.asarray(sheet.crop((GAP, top, GAP + CELL, top + LINE))).reshape(-1, 3)
    assert tuple(letters[letters.sum(1).argmin()]) == darkest
    assert (letters[:, 1] == letters[:, 2]).all()  # shades between that colour and white


@pytest.mark.parametrize(("is_duplicate", "darkest"), [(False, (0, 0, 0)), (True, (0xD0, 0, 0))])
def test_names_of_duplicates_are_red(tmp_path: Path, is_duplicate: bool, darkest: tuple[int, int, int]) -> None:
    row = row_of((32, 32), (0, 0, 32, 32), is_duplicate=is_duplicate)
    sheet = contact_sheet([row], [example_of(tmp_path, "lime", (32, 32))], "white")
    letters = np.asarray(sheet.crop((GAP, GAP + CELL, GAP + CELL, GAP + CELL + LINE))).reshape(-1, 3)
    assert tuple(letters[letters.sum(1).argmin()]) == darkest


def test_pictures_that_cannot_be_used_come_first_in_red(tmp_path: Path) -> None:
    """An empty frame with the reason beneath, and then the others."""
    row = row_of((32, 32), (0, 0, 32, 32))
    lime = example_of(tmp_path, "lime", (32, 32))
    sheet = contact_sheet([row], [lime], "white", ["photos/x.png is damaged or cannot be read: broken data"])
    assert sheet.getpixel((GAP, GAP + CELL // 2)) == (0xD0, 0, 0)
    words = np.asarray(sheet.crop((GAP, GAP + CELL, GAP + CELL, GAP + CELL + 3 * LINE))).reshape(-1, 3)
    assert tuple(words[words.sum(1).argmin()]) == (0xD0, 0, 0)
    assert sheet.getpixel((GAP + CELL + GAP + CELL // 2, GAP + CELL // 2)) == (0, 255, 0)


def test_names_are_shortened_in_their_middle() -> None:
    assert shortened("photos/cat.png") == "cat.png"
    assert shortened(f"x/{'a' * 20}{'b' * 20}.png") == f"{'a' * 7}..bbb.png"
