"""The real pictures of a concept, with which drawn ones are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from ..config.config import Concept
from ..data.examples import Example
from ..data.images import centre_square, read_image
from ..data.masks import read_mask
from ..data.scanning import load_examples

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
