import io
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ti_trainer.config.bundled import MY_CAT, sample_data
from ti_trainer.data.duplicates import Fingerprint, find_duplicates, fingerprint
from ti_trainer.data.images import Picture, decode

CATS = [Image.open(path).convert("RGB") for path in sorted(sample_data(MY_CAT).glob("*.png"))]


def notes_of(names: list[str], prints: list[Fingerprint]) -> list[str]:
    return find_duplicates(prints).notes(names)


def print_of(image: Image.Image, kind: str = "PNG", **how: Any) -> Fingerprint:
    data = io.BytesIO()
    image.save(data, kind, **how)
    return fingerprint(decode(Picture("x", data.getvalue)))


def smooth(seed: int) -> Image.Image:
    """A landscape of soft hills, as photographs are on a coarse scale."""
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((240, 200), Image.Resampling.BICUBIC)


def test_difference_hash_is_what_it_says() -> None:
    """A picture of 9 x 8 pixels: each bit says whether a pixel is brighter than the one to its left."""
    draws = np.random.default_rng(0).integers(0, 50, (8, 9)) * 5  # steps above the noise
    image = Image.fromarray(draws.astype(np.uint8)).convert("RGB")
    bits = "".join("1" if draws[r, c + 1] > draws[r, c] else "0" for r in range(8) for c in range(8))
    assert print_of(image).gradients == int(bits, 2)


def test_same_picture_in_other_clothes() -> None:
    """Saved again, scaled, a little brighter: alike. Mirrored, cut in half, in other colours: another picture."""
    for image in [smooth(seed) for seed in range(8)] + CATS:
        width, height = image.size
        near = {
            "jpeg": print_of(image, "JPEG", quality=40),
            "half": print_of(image.resize((width // 2, height // 2), Image.Resampling.LANCZOS)),
            "brighter": print_of(ImageEnhance.Brightness(image).enhance(1.04)),
        }
        for name, other in near.items():
            assert notes_of(["a", name], [print_of(image), other]) == [
                f"a, {name} look alike and count 2 times; keep the best one"
            ]
        far = [ImageOps.mirror(image), image.crop((0, 0, width // 2, height // 2)), ImageOps.invert(image)]
        assert notes_of(list("abcd"), [print_of(each) for each in (image, *far)]) == []


def test_different_pictures_of_one_thing() -> None:
    many = [smooth(seed) for seed in range(60)] + CATS
    assert notes_of([str(i) for i in range(len(many))], [print_of(image) for image in many]) == []


def test_plain_pictures_differ_by_their_colour() -> None:
    plain = [print_of(Image.new("RGB", (64, 64), colour), "JPEG") for colour in ("red", "blue", "#fe0101")]
    assert notes_of(["red", "blue", "also red"], plain) == [
        "red, also red look alike and count 2 times; keep the best one"
    ]


def test_copies_are_told_once() -> None:
    image = smooth(0)
    copy, again = print_of(image), print_of(image, "JPEG", quality=90)
    assert notes_of(list("abcd"), [copy, print_of(smooth(1)), copy, again]) == [
        "a, c are the same picture and count 2 times",
        "a, d look alike and count 2 times; keep the best one",
    ]
    assert notes_of([], []) == []
