"""Grids show every picture with its caption, and words stay whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFont

from ti_trainer.reports.grids import CELL, GAP, LETTERS, MARGIN, SMALLEST, fitting_font, grid, save_image, wrap


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


COLOURS = [[(200, 0, 0), (0, 200, 0), (0, 0, 200)], [(200, 200, 0), (200, 0, 200), (0, 200, 200)]]


def coloured_rows(titles: Sequence[str]) -> list[tuple[str, list[Image.Image]]]:
    pictures = [[Image.new("RGB", (32, 32), colour) for colour in row] for row in COLOURS]
    return list(zip(titles, pictures, strict=True))


def box(canvas: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of everything of that colour."""
    rows, columns = np.nonzero((canvas == colour).all(-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_grid_shows_every_picture_in_its_place() -> None:
    canvas = array(grid(coloured_rows(["before", "after"]), ["one", "two", "three"], cell=100))
    boxes = [[box(canvas, colour) for colour in row] for row in COLOURS]
    for row in boxes:
        assert [right - left for left, _, right, _ in row] == [100] * 3
        assert [bottom - top for _, top, _, bottom in row] == [100] * 3
        assert len({top for _, top, _, _ in row}) == 1
        assert row[0][2] < row[1][0] < row[1][2] < row[2][0]
    for upper, lower in zip(*boxes, strict=True):
        assert upper[0] == lower[0]
        assert upper[3] < lower[1]


def test_captions_and_titles_are_drawn() -> None:
    """Changing a caption changes the canvas beneath its own column and nowhere else; a title, left of its own row."""
    plain = array(grid(coloured_rows(["before", "after"]), ["cat", "dog", "<my-cat>"], cell=100))
    boxes = [[box(plain, colour) for colour in row] for row in COLOURS]
    other = array(grid(coloured_rows(["before", "after"]), ["cat", "fox", "<my-cat>"], cell=100))
    rows, columns = np.nonzero((plain != other).any(-1))
    left, _, right, bottom = boxes[1][1]
    assert len(rows) > 20
    assert rows.min() >= bottom
    assert columns.min() >= left
    assert columns.max() < right

    for left, _, right, bottom in boxes[1]:  # dark letters on white, whole
        beneath = plain[bottom:, left:right].max(-1)
        assert (beneath < 100).sum() > 20
        assert (beneath[-1] == 255).all()

    other = array(grid(coloured_rows(["before", "later"]), ["cat", "dog", "<my-cat>"], cell=100))
    rows, columns = np.nonzero((plain != other).any(-1))
    left, top, _, bottom = boxes[1][0]
    assert len(rows) > 20
    assert columns.max() < left
    assert top <= rows.min()
    assert rows.max() < bottom


def test_long_captions_are_wrapped_and_shown_whole() -> None:
    """Every word of a long caption leaves its own mark, and none runs into the next column."""
    caption = "a photo of the <my-cat> in deep snow at night under some bright stars"
    words = caption.split()
    plain = array(grid(coloured_rows(["before", "after"]), [caption, "dog", "dog"], cell=100))
    left, _, _, bottom = box(plain, COLOURS[1][0])
    for number in range(1, len(words)):
        changed = [*words[:number], words[number][::-1], *words[number + 1 :]]  # as wide as it was
        other = array(grid(coloured_rows(["before", "after"]), [" ".join(changed), "dog", "dog"], cell=100))
        assert other.shape == plain.shape
        rows, columns = np.nonzero((plain != other).any(-1))
        assert len(rows) > 0, words[number]
        assert rows.min() >= bottom
        assert columns.min() >= left - 2  # letters may lean over
        assert columns.max() < box(plain, COLOURS[1][1])[0]


def test_saved_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "previews" / "step-000001.png"
    picture = Image.new("RGB", (4, 4), "red")
    save_image(picture, path)
    with Image.open(path) as saved:
        assert np.array_equal(array(saved), array(picture))

    def fail(self: Image.Image, file: Any, **how: Any) -> None:
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        save_image(Image.new("RGB", (4, 4), "blue"), path)
    monkeypatch.undo()
    with Image.open(path) as saved:
        assert np.array_equal(array(saved), array(picture))


def test_a_picture_says_what_it_shows(tmp_path: Path) -> None:
    told = {"prompt": "a <my-cat> im Sch\u00f6nbuch", "seed": "3"}
    save_image(Image.new("RGB", (4, 4), "red"), tmp_path / "a.png", told)
    with Image.open(tmp_path / "a.png") as saved:
        saved.load()
        assert {name: saved.info[name] for name in told} == told


def test_words_are_never_broken() -> None:
    font = ImageFont.load_default(LETTERS)
    caption = "a photo of <my-very-long-cat> in-deep-snow"
    lines = wrap(caption, font, 100)
    assert " ".join(lines) == caption
    assert {word for line in lines for word in line.split()} == set(caption.split())
    assert all(font.getlength(line) <= 100 or " " not in line for line in lines)
    assert wrap("", font, 100) == []
    small = fitting_font([caption], 100)
    assert (
        small.getlength("<my-very-long-cat>") <= 100 < ImageFont.load_default(LETTERS).getlength("<my-very-long-cat>")
    )
    assert fitting_font(["x" * 99], 100).size == SMALLEST  # type: ignore[union-attr]
    assert fitting_font(["a cat"], 100).size == LETTERS  # type: ignore[union-attr]


def test_empty_places_other_shapes_and_the_header() -> None:
    """A wide picture is shown whole in the middle of its square, a missing one leaves it white."""
    wide = Image.new("RGB", (64, 32), (200, 0, 0))
    plain = array(grid([("a", [wide, None])], ["one", "two"]))
    assert box(plain, (200, 0, 0)) == (MARGIN, 4 + CELL // 4, MARGIN + CELL, 4 + 3 * CELL // 4)
    assert (plain[: CELL + GAP, MARGIN + CELL :] == 255).all()
    headed = array(grid([("a", [wide, None])], ["one", "two"], header="<my-cat> on sd15"))
    more = headed.shape[0] - plain.shape[0]
    assert more > LETTERS
    assert (headed[more:] == plain).all()
    assert (headed[:more] < 100).any()
