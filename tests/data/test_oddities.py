"""Pictures that are odd in each way, made here, and the same pictures without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from ti_trainer.config.concept import Concept
from ti_trainer.data.oddities import CHECKS, NEARLY_NOTHING, NOTHING, oddities
from ti_trainer.data.scanning import load_examples

BARS, BLUR, TINY, SCREEN = CHECKS


def photo(size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Something as bright and as detailed everywhere as a photograph."""
    rng = np.random.default_rng(0)
    width, height = size
    details = rng.integers(0, 100, (height // 2 + 1, width // 2 + 1, 3), dtype=np.uint8)
    shades = np.linspace(60, 150, width).astype(np.uint8)[None, :, None]
    return Image.fromarray(np.asarray(Image.fromarray(details).resize(size, Image.Resampling.BICUBIC)) + shades)


def with_bars(side: tuple[int, int, int, int]) -> Image.Image:
    return ImageOps.expand(photo(), side, "black")


def dot(radius: int) -> Image.Image:
    image = Image.new("RGB", (512, 512), "#e0e0e0")
    ImageDraw.Draw(image).ellipse((256 - radius, 256 - radius, 256 + radius, 256 + radius), "red")
    return image


def sharp_in_the_middle() -> Image.Image:
    image = photo().filter(ImageFilter.GaussianBlur(12))
    image.paste(photo((160, 120)), (240, 180))
    return image


def screen() -> Image.Image:
    """A phone's screen: mostly plain, with a photograph in its middle."""
    image = Image.new("RGB", (1170, 2532), "white")
    image.paste(photo((1170, 780)), (0, 800))
    return image


CASES: dict[str, tuple[Callable[[], Image.Image], list[str]]] = {
    "a photograph": (photo, []),
    "all of one colour": (lambda: Image.new("RGB", (300, 200), "blue"), [NOTHING]),
    "nearly of one colour": (lambda: photo().point(lambda level: 100 + level // 12), [NEARLY_NOTHING]),
    "bars above and below": (lambda: with_bars((0, 60, 0, 60)), [BARS]),
    "bars at the sides": (lambda: with_bars((90, 0, 40, 0)), [BARS]),
    "a bar at one side only may be part of the picture": (lambda: with_bars((0, 60, 0, 0)), []),
    "lines that are thinner than a bar": (lambda: with_bars((0, 3, 0, 3)), []),
    "a subject on black": (lambda: ImageOps.invert(dot(200)), []),
    "blurred": (lambda: photo().filter(ImageFilter.GaussianBlur(12)), [BLUR]),
    "a sharp place in a blurred picture": (sharp_in_the_middle, []),
    "a miniature has no details": (lambda: photo((64, 64)).filter(ImageFilter.GaussianBlur(4)), []),
    "something tiny": (lambda: dot(25), [TINY]),
    "something that fills the picture": (lambda: dot(120), []),
    "a screenshot": (screen, [SCREEN]),
    "a photograph that is as large as a screen": (lambda: photo((1080, 1920)), []),
}


@pytest.mark.parametrize("case", CASES)
def test_oddities(case: str) -> None:
    make, wanted = CASES[case]
    image = make()
    assert oddities(image, image.size) == wanted


def test_pictures_are_named_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with_bars((0, 60, 0, 60 if name == "a" else 50)).save(tmp_path / f"{name}.png")
    photo().save(tmp_path / "c.png")
    _, notes = load_examples(Concept("<my-cat>", str(tmp_path)), False)
    assert f"{BARS}: {tmp_path / 'a.png'}, {tmp_path / 'b.png'}" in notes
    assert not any("c.png" in note and "bars" in note for note in notes)
