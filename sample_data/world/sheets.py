"""The pictures of the model card."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from PIL import Image, ImageDraw, ImageFont

from .attributes import HELD_OUT, OBJECTS, PATTERNS, SCENES, draw_description
from .drawing import SIZE, draw
from .references import references
from .settings import SEED

ZOOM = 2
GAP = 4
LINE = 12  # height of a line of text
PAPER = (255, 255, 255)
INK = (32, 32, 32)


def grid(pictures: Sequence[Image.Image], columns: int, captions: Sequence[str] | None = None) -> Image.Image:
    """One picture of all pictures, in rows of `columns`, each with its caption below."""
    side = SIZE * ZOOM
    font = ImageFont.load_default(LINE - 3)
    lines = [textwrap.wrap(caption, 27) for caption in captions] if captions else [[] for _ in pictures]
    height = side + LINE * max(len(wrapped) for wrapped in lines)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + GAP) - GAP, rows * (height + GAP) - GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (picture, wrapped) in enumerate(zip(pictures, lines, strict=True)):
        row, column = divmod(number, columns)
        x = column * (side + GAP)
        y = row * (height + GAP)
        sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), (x, y))
        for k, line in enumerate(wrapped):
            pen.text((x, y + side + k * LINE), line, INK, font)
    return sheet


def world_sheet() -> Image.Image:
    """A picture with a column for each object and a row for each scene, and with all patterns."""
    pictures = []
    for row, scene in enumerate(SCENES):
        for column, thing in enumerate(OBJECTS):
            rng = random.Random(f"{SEED} sheet {scene} {thing}")
            pattern = PATTERNS[(row + column) % len(PATTERNS)]
            while True:
                seen = replace(draw_description(rng), object=thing, pattern=pattern, scene=scene)
                visible = scene != "plain" or seen.backdrop not in (seen.colour, seen.accent)
                if visible and seen.identity() not in HELD_OUT.values():
                    break
            pictures.append(draw(seen, rng))
    return grid(pictures, len(OBJECTS))


def held_out_sheet() -> Image.Image:
    """A picture with a column for each held-out creature: its name and its five pictures."""
    columns = [references(name) for name in HELD_OUT]
    rows = [list(row) for row in zip(*columns, strict=True)]
    pictures = [picture for row in rows for picture in row]
    return grid(pictures, len(HELD_OUT), [*HELD_OUT, *[""] * (len(pictures) - len(HELD_OUT))])
