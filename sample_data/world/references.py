"""Pictures of the held-out creatures: the few photographs that a user would have of them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from PIL import Image

from .attributes import Description, held_out_description
from .drawing import draw
from .settings import SEED

# scene, size, place
VIEWS = (
    ("grass", "large", "centre"),
    ("snow", "small", "left"),
    ("beach", "large", "right"),
    ("sunset", "small", "right"),
    ("plain", "large", "left"),
)


def views(name: str, count: int = len(VIEWS)) -> list[tuple[Description, Image.Image]]:
    """`count` pictures of the creature `name` (a key of HELD_OUT), in changing scenes, sizes and places."""
    result = []
    for number in range(count):
        rng = random.Random(f"{SEED} {name} {number}")
        scene, size, place = VIEWS[number % len(VIEWS)]
        seen = replace(held_out_description(name, scene, rng), size=size, place=place)
        result.append((seen, draw(seen, rng)))
    return result


def references(name: str, count: int = len(VIEWS)) -> list[Image.Image]:
    return [picture for _, picture in views(name, count)]


def write_references(name: str, out: Path) -> None:
    """`out/NAME/1.png` and on."""
    (out / name).mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(references(name), start=1):
        picture.save(out / name / f"{number}.png")
