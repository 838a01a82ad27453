"""One picture of all training pictures: the part that is shown, what the mask hides, and the caption."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from tqdm.auto import tqdm

from ..config.config import TrainConfig
from ..data.examples import Example
from ..data.images import decode, on_ground
from ..data.masks import read_mask
from ..errors import BadInput
from .dataset_report import PictureRow, counted, report_dataset, report_json, report_text
from .grids import save_image

# pixels
CELL = 192  # side of the square for a picture
GAP = 10  # between squares
LINE = 15  # height of a line of text

COLUMNS = 6
CAPTION_LINES = 4
TITLE_LINES = 2  # name and size
LETTERS = CELL // 7  # of a line
MOST_PICTURES = 120

# colours
FRAME = "#ffd400"  # around the part that is shown
HIDDEN = "#b00060"  # over what the mask hides
TROUBLE = "#d00000"  # of what would not be trained, or twice
FAINT = "#707070"

Cell = tuple[Image.Image, list[tuple[str, str]]]  # a square picture, and lines with their colours


def show_dataset(config: TrainConfig, sheet: str, as_json: bool) -> None:
    """Print a report and write a contact sheet; raises BadInput when training would refuse the pictures."""

    def progress(things: Iterable[Any], count: int) -> Iterable[Any]:
        return tqdm(things, desc="reading pictures", total=count, leave=False)

    report, examples = report_dataset(config, progress)
    print(report_json(report) if as_json else report_text(report))
    save_image(contact_sheet(report.pictures, examples, config.concept.alpha_color, report.refused), Path(sheet))
    if not as_json:
        print(f"contact sheet:   {sheet}")
    if report.problems:
        raise BadInput(f"training would refuse these pictures: {counted(len(report.problems), 'problem')}, see above")


def contact_sheet(
    rows: Sequence[PictureRow], examples: Sequence[Example], alpha_color: str, refused: Sequence[str] = ()
) -> Image.Image:
    """A picture of up to MOST_PICTURES examples, with a frame around the part of each that is shown, and its caption.

    rows: what the report says of each example; refused: lines about pictures that cannot be used, which come first.
    """
    cells: list[Cell] = [refused_cell(line) for line in refused]
    cells += [cell_of(row, example, alpha_color) for row, example in zip(rows, examples, strict=True)][:MOST_PICTURES]
    cells = cells[:MOST_PICTURES]
    lines = -(-max(1, len(cells)) // COLUMNS)
    width = CELL + GAP
    height = CELL + GAP + LINE * (CAPTION_LINES + TITLE_LINES)
    sheet = Image.new("RGB", (min(COLUMNS, max(1, len(cells))) * width + GAP, lines * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for number, (picture, texts) in enumerate(cells):
        left = number % COLUMNS * width + GAP
        top = number // COLUMNS * height + GAP
        sheet.paste(picture, (left, top))
        for line, (text, colour) in enumerate(texts):
            draw.text((left, top + CELL + line * LINE), text, fill=colour, font=font)
    return sheet


def cell_of(row: PictureRow, example: Example, alpha_color: str) -> Cell:
    """A picture of the sheet, with its name, its size and its first caption."""
    size = f"{row.size[0]} x {row.size[1]}, {row.tokens} tokens" + (f", x{row.repeats}" if row.repeats > 1 else "")
    caption = wrapped(row.captions[0], CAPTION_LINES)
    name = shortened(row.name)
    return thumbnail(row, example, alpha_color), [
        (f"{name} (duplicate)", TROUBLE) if row.is_duplicate else (name, "black"),
        (size, FAINT),
        *((line, "black" if row.has_token else TROUBLE) for line in caption),
    ]


def refused_cell(line: str) -> Cell:
    """The place of a picture that cannot be used: an empty frame, and why; line: its name and the reason."""
    square = Image.new("RGB", (CELL, CELL), "white")
    ImageDraw.Draw(square).rectangle((0, 0, CELL - 1, CELL - 1), outline=TROUBLE, width=2)
    ImageDraw.Draw(square).line((0, 0, CELL - 1, CELL - 1), fill=TROUBLE, width=2)
    path, _, reason = line.partition(" ")
    texts = wrapped(f"{shortened(path)} {reason}", CAPTION_LINES + TITLE_LINES)
    return square, [(text, TROUBLE) for text in texts]


def wrapped(text: str, lines: int) -> list[str]:
    """A text in lines as wide as a cell."""
    return textwrap.wrap(text, LETTERS, max_lines=lines, placeholder=" ...")


def shortened(path: str) -> str:
    """The name of a file without its folder, and without the middle of a long one."""
    name = path.replace("\\", "/").rpartition("/")[2]
    half = LETTERS // 2 - 6  # beside the word "duplicate"
    return name if len(name) <= 2 * half else f"{name[:half]}..{name[-half:]}"


def thumbnail(row: PictureRow, example: Example, alpha_color: str) -> Image.Image:
    """A picture in a square of CELL pixels, with its frame and its mask."""
    scale = CELL / max(row.size)
    size = (max(1, round(row.size[0] * scale)), max(1, round(row.size[1] * scale)))
    image = on_ground(decode(example.picture, at_least=CELL).image, alpha_color).resize(size, Image.Resampling.LANCZOS)
    mask = read_mask(example)
    if mask is not None:
        veil = Image.blend(image, Image.new("RGB", size, HIDDEN), 0.5)
        image = Image.composite(image, veil, mask.resize(size))
    for box in row.boxes:
        left, top, right, bottom = (side * scale for side in box)
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), outline=FRAME, width=2)
    cell = Image.new("RGB", (CELL, CELL), "#e8e8e8")
    cell.paste(image, ((CELL - size[0]) // 2, (CELL - size[1]) // 2))
    return cell
