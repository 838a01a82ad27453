"""A few pictures of each held-out creature, like the photographs that a user would have."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from PIL import Image

from .attributes import Description, held_out_description
from .drawing import draw
from .settings import SEED

# Scene, size and place of each picture.
VIEWS = (
    ("grass", "large", "centre"),
    ("snow", "small", "left"),
    ("beach", "large", "right"),
    ("sunset", "small", "right"),
    ("plain", "large", "left"),
)


def views(name: str, count: int = len(VIEWS), scene: str | None = None) -> list[tuple[Description, Image.Image]]:
    """`count` pictures of the creature `name`, a key of CREATURES, in the VIEWS in turn, or all in one scene."""
    result = []
    for number in range(count):
        rng = random.Random(f"{SEED} {name} {number}")
        own, size, place = VIEWS[number % len(VIEWS)]
        seen = replace(held_out_description(name, scene or own, rng), size=size, place=place)
        result.append((seen, draw(seen, rng)))
    return result


def references(name: str, count: int = len(VIEWS), scene: str | None = None) -> list[Image.Image]:
    """The pictures of `views`."""
    return [picture for _, picture in views(name, count, scene)]


def write_references(name: str, out: Path, count: int = len(VIEWS), scene: str | None = None) -> None:
    """Write the references of a creature as `out/NAME/1.png`, `2.png` and so on."""
    (out / name).mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(references(name, count, scene), start=1):
        picture.save(out / name / f"{number}.png")
