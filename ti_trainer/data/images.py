"""Reading a picture as a person sees it, and cutting a square out of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import BadInput


@dataclass(frozen=True)
class Picture:
    """The bytes of a picture, wherever they lie, and the name by which messages call it."""

    name: str
    read: Callable[[], bytes] = field(repr=False, compare=False)

    @classmethod
    def at(cls, path: Path) -> Picture:
        return cls(str(path), path.read_bytes)


def read_image(picture: Picture) -> Image.Image:
    """An upright RGB picture; transparent parts become white. Raises BadInput, naming it, if it is damaged."""
    try:
        with Image.open(io.BytesIO(picture.read())) as file:
            file.load()
            upright = ImageOps.exif_transpose(file)
    except UnidentifiedImageError:
        raise BadInput(f"{picture.name} is not a picture that Pillow can read") from None
    except Exception as error:  # Pillow's decoders raise anything: OSError, RuntimeError, struct.error
        raise BadInput(f"{picture.name} is damaged or cannot be read: {error}") from None
    if upright.mode.startswith("I"):  # 16 bits of grey, which Pillow's convert would cut off at 255
        upright = Image.fromarray((np.asarray(upright).clip(0, 65535) / 257).round().astype(np.uint8))
    elif upright.mode == "F":
        raise BadInput(f"{picture.name} holds floating-point numbers; save it as an 8-bit picture")
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        opaque = Image.new("RGBA", upright.size, "white")
        opaque.alpha_composite(upright.convert("RGBA"))
        upright = opaque
    return upright.convert("RGB")


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """The largest central square, scaled to (size, size)."""
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def to_pixels(image: Image.Image) -> Tensor:
    """RGB picture -> (3, h, w) float32 in [-1, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1
