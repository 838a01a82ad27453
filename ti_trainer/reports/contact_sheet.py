"""A picture of all pictures: what is shown of each, what its mask hides, and what its caption says."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from ..config.config import TrainConfig
from ..data.examples import Example
from ..data.images import decode, on_ground
from ..data.masks import read_mask
from ..errors import BadInput
from .dataset_report import (
    PictureRow,
    counted,
    report_dataset,
    report_json,
    report_text,
)
from .previews import save_image

CELL, GAP, LINE, COLUMNS, CAPTION_LINES = 192, 10, 15, 6, 4
MOST_PICTURES = 120
FRAME, HIDDEN, TROUBLE = "#ffd400", "#b00060", "#d00000"


def show_dataset(config: TrainConfig, sheet: str, as_json: bool) -> None:
    """Print a report and write a contact sheet; raises BadInput where training would refuse the pictures."""

    def progress(things: Iterable[Any], count: int) -> Iterable[Any]:
        return tqdm(things, desc="reading pictures", total=count, leave=False)

    report, examples = report_dataset(config, progress)
    print(report_json(report) if as_json else report_text(report))
    save_image(contact_sheet(report.pictures, examples, config.concept.alpha_color), Path(sheet))
    if not as_json:
        print(f"contact sheet:   {sheet}")
    if report.problems:
        raise BadInput(f"training would refuse these pictures: {counted(len(report.problems), 'problem')}, see above")


def contact_sheet(rows: Sequence[PictureRow], examples: Sequence[Example], alpha_color: str) -> Image.Image:
    """Up to MOST_PICTURES pictures: a frame around what is shown, colour over what a mask hides, captions beneath."""
    shown = list(zip(rows, examples, strict=True))[:MOST_PICTURES]
    lines = -(-max(1, len(shown)) // COLUMNS)
    width, height = CELL + GAP, CELL + GAP + LINE * (CAPTION_LINES + 1)
    sheet = Image.new("RGB", (min(COLUMNS, max(1, len(shown))) * width + GAP, lines * height + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, (row, example) in enumerate(shown):
        left, top = number % COLUMNS * width + GAP, number // COLUMNS * height + GAP
        sheet.paste(thumbnail(row, example, alpha_color), (left, top))
        title = f"{row.size[0]} x {row.size[1]}, {row.tokens} tokens" + (f", x{row.repeats}" if row.repeats > 1 else "")
        draw.text((left, top + CELL), title, fill="#707070", font=font)
        caption = textwrap.wrap(row.captions[0], CELL // 7, max_lines=CAPTION_LINES, placeholder=" ...")
        colour = "black" if row.has_token else TROUBLE
        for line, text in enumerate(caption, 1):
            draw.text((left, top + CELL + line * LINE), text, fill=colour, font=font)
    return sheet


def thumbnail(row: PictureRow, example: Example, alpha_color: str) -> Image.Image:
    """A picture fitted into a cell, with its frame and its mask; (CELL, CELL)."""
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
