"""Pictures in rows and columns, with words beside and beneath them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo

from ..files.atomic import write_bytes

# pixels
CELL = 160  # side of a picture's square
GAP = 8  # between pictures
MARGIN = 84  # at the left, for titles
LETTERS = 13  # height of the letters
SMALLEST = 7  # of the letters of captions with long words

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def grid(
    rows: Sequence[tuple[str, Sequence[Image.Image | None]]],
    captions: Sequence[str],
    cell: int = CELL,
    header: str = "",
) -> Image.Image:
    """Rows of pictures with a title at the left of each row, a caption under each column and a line above all.

    rows: title and pictures, as many as there are captions; None leaves a place empty. cell: pixels of a picture's
    side.
    """
    font = ImageFont.load_default(LETTERS)
    small = fitting_font(captions, cell)
    wrapped = [wrap(caption, small, cell) for caption in captions]
    line = LETTERS + 3
    top = line + 8 if header else 0
    foot = top + len(rows) * (cell + GAP)
    footer = line * max(map(len, wrapped), default=0) + 10
    canvas = Image.new("RGB", (MARGIN + len(captions) * (cell + GAP), foot + footer), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, 4), header, fill="black", font=font)
    for r, (title, images) in enumerate(rows):
        above = top + r * (cell + GAP) + 4
        draw.text((8, above + cell // 2), title, fill="black", font=font, anchor="lm")
        for c, image in enumerate(images):
            if image:
                canvas.paste(in_square(image, cell), (MARGIN + c * (cell + GAP), above))
    for c, lines in enumerate(wrapped):
        for k, text in enumerate(lines):
            draw.text((MARGIN + c * (cell + GAP), foot + k * line), text, fill="black", font=small)
    return canvas


def in_square(image: Image.Image, side: int) -> Image.Image:
    """A picture in a square of `side` pixels; small ones keep their pixels' edges."""
    resample = Image.Resampling.NEAREST if max(image.size) < side else Image.Resampling.LANCZOS
    shown = ImageOps.contain(image, (side, side), resample)
    square = Image.new("RGB", (side, side), "white")
    square.paste(shown, ((side - shown.width) // 2, (side - shown.height) // 2))
    return square


def fitting_font(captions: Sequence[str], width: int) -> Font:
    """The largest letters, between SMALLEST and LETTERS, with which no word is wider than `width` pixels."""
    words = [word for caption in captions for word in caption.split()]
    fonts = [ImageFont.load_default(size) for size in range(LETTERS, SMALLEST, -1)]
    fitting = (font for font in fonts if all(font.getlength(word) <= width for word in words))
    return next(fitting, ImageFont.load_default(SMALLEST))


def wrap(text: str, font: Font, width: int) -> list[str]:
    """A text in lines of up to `width` pixels; it is broken at blanks alone, never inside a word such as "<my-cat>"."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def save_image(image: Image.Image, path: Path, told: Mapping[str, str] | None = None) -> None:
    """Write a PNG file, completely or not at all; told: what the file says of the picture."""
    texts = PngInfo()
    for name, text in (told or {}).items():
        texts.add_itxt(name, text)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=texts)
    write_bytes(buffer.getvalue(), path)
