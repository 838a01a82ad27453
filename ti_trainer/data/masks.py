"""Masks: which part of a picture is the subject."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageChops

from ..errors import BadInput
from .examples import Example, MaskSource
from .images import ON_ITS_SIDE, ROOM, TURNS, in_strips, on_ground, open_picture

VISIBLE = 128  # a mask whose brightest value is lower is empty, or was saved as 0 and 1 in place of 0 and 255
SAME_SHAPE = 0.05  # the largest difference between the logarithms of two aspect ratios that count as equal


def read_mask(example: Example) -> Image.Image | None:
    """The mask of an example, "L" and as large as the upright picture, 255 on the subject; None if it has none.

    Raises BadInput for a mask that is damaged, black, or of another shape than its picture.
    """
    if example.mask is None:
        return None
    mask = upright_mask(example, example.mask)
    return mask if mask.size == example.size else mask.resize(example.size, Image.Resampling.BILINEAR)


def upright_mask(example: Example, source: MaskSource) -> Image.Image:
    """The mask before it is scaled; raises as `read_mask` does."""
    opened = open_picture(source.picture)
    with ROOM.take(opened.pixels):
        mask = in_strips(opened.decode().image, "L", alpha if source.is_alpha else brightest_colour)
    if not source.is_alpha:
        mask = turn_like(mask, example)
    name = source.picture.name
    brightest = int(np.asarray(mask).max())
    if brightest < VISIBLE:
        what = "alpha channel" if source.is_alpha else "mask"
        raise BadInput(f"{name}: the {what} is black, its brightest value is {brightest}; the subject has to be 255")
    if not fits(mask.size, example.size):
        raise BadInput(
            f"{name} is {mask.size[0]} x {mask.size[1]} and its picture {example.size[0]} x {example.size[1]}: "
            "another shape; save the mask as large as the picture"
        )
    return mask


def alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGBA").getchannel("A")


def brightest_colour(image: Image.Image) -> Image.Image:
    """The largest of red, green and blue on black, because the subject may be painted in any colour."""
    red, green, blue = on_ground(image, "black").split()
    return ImageChops.lighter(red, ImageChops.lighter(green, blue))


def fits(size: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Whether two sizes have about the same aspect ratio."""
    return abs(math.log(size[0] * wanted[1] / (size[1] * wanted[0]))) < SAME_SHAPE


def turn_like(mask: Image.Image, example: Example) -> Image.Image:
    """The mask, turned upright if it has the shape of the file and not of the upright picture.

    A mask that was painted on the upright picture is upright already; one that was made from the pixels of the file,
    without its EXIF orientation, lies on its side as they do.
    """
    if fits(mask.size, example.size) or not fits(mask.size, (example.size[1], example.size[0])):
        return mask
    orientation = open_picture(example.picture).orientation
    return mask.transpose(TURNS[orientation]) if orientation in ON_ITS_SIDE else mask
