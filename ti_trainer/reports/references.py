"""The real pictures of a concept, with which drawn ones are compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from PIL import Image

from ..config.concept import Concept
from ..data.examples import Example
from ..data.images import centre_square, decode, on_ground, read_image
from ..data.masks import read_mask
from ..data.scanning import load_examples
from ..errors import BadInput

HIDDEN = "black"  # what masks leave out, as in Directional Textual Inversion's evaluation


def find_references(concept: Concept) -> list[Example]:
    """The concept's own pictures and their masks; raises BadInput as training would."""
    examples, _ = load_examples(replace(concept, captions="filename", class_images=None), skip_bad_images=False)
    return examples


def read_references(examples: Sequence[Example], alpha_color: str, size: int) -> list[Image.Image]:
    """The central square of each picture, scaled to `size` pixels; what its mask leaves out is HIDDEN."""
    pictures = []
    for example in examples:
        picture = read_image(example.picture, alpha_color)
        mask = read_mask(example)
        if mask:
            picture = Image.composite(picture, Image.new("RGB", picture.size, HIDDEN), mask)
        pictures.append(centre_square(picture, size))
    return pictures


def show_references(examples: Sequence[Example], alpha_color: str, size: int, most: int) -> list[Image.Image]:
    """The central squares of the concept's first own pictures, `most` at most; those that have gone are left out."""
    pictures = []
    for example in [example for example in examples if not example.is_class][:most]:
        with suppress(BadInput, OSError):
            pictures.append(centre_square(on_ground(decode(example.picture, size).image, alpha_color), size))
    return pictures
