"""Reading pictures: upright, in sRGB, and without trusting the file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import BadInput
from ..files.reach import EVERYWHERE, Reach
from ..files.wording import printable

# A file's content decides, not its name. Pillow reads more formats, but one of them starts Ghostscript.
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "AVIF")
MAX_BYTES = 2**30

# EXIF's orientation (2.32, tag 274) -> the operation that makes the picture upright
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_ITS_SIDE = (5, 6, 7, 8)  # orientations in which width and height are exchanged


@dataclass(frozen=True)
class Picture:
    """How the bytes of a picture are read, wherever they lie, and the name that messages use for it."""

    name: str
    read: Callable[[], bytes] = field(repr=False, compare=False)

    @classmethod
    def at(cls, path: Path, reach: Reach = EVERYWHERE) -> Picture:
        """A file; what may be read is asked again each time, because a link may have been changed."""
        return cls(printable(path), lambda: read_file(reach.resolve(path)))


@dataclass(frozen=True)
class Decoded:
    """An upright picture in sRGB, with its alpha channel if it has one."""

    image: Image.Image  # "RGB" or "RGBA"
    size: tuple[int, int]  # width, height of the upright picture, also if `image` was decoded at a smaller size
    orientation: int  # EXIF's, as the file stores it
    digest: bytes  # SHA-256 of the file
    notes: tuple[str, ...]  # lines for the user


def read_file(path: Path) -> bytes:
    """The bytes of a file; raises BadInput for what is not a file, such as a pipe, and for more than MAX_BYTES."""
    if path.exists() and not path.is_file():
        raise BadInput(f"{printable(path)} is not a file")
    if path.stat().st_size > MAX_BYTES:
        raise BadInput(f"{printable(path)} has {path.stat().st_size / 2**30:.1f} GiB; save it as JPEG")
    return path.read_bytes()


def read_image(picture: Picture, alpha_color: str = "white") -> Image.Image:
    """An upright RGB picture, with `alpha_color` behind its transparent parts; raises BadInput if it is damaged."""
    return on_ground(decode(picture).image, alpha_color)


def on_ground(image: Image.Image, alpha_color: str) -> Image.Image:
    """A picture as RGB, with a colour behind its transparent parts."""
    if image.mode == "RGB":
        return image
    ground = Image.new("RGBA", image.size, alpha_color)
    ground.alpha_composite(image)
    return ground.convert("RGB")


def decode(picture: Picture, at_least: int | None = None) -> Decoded:
    """A picture, upright and in sRGB; raises BadInput, naming it, if it is damaged.

    at_least: a JPEG is decoded at an eighth, a quarter or a half of its size if both sides keep at least so many
    pixels, which is faster. All of the file is read all the same, so damage is found.
    """
    try:
        data = picture.read()
    except OSError as error:
        raise BadInput(f"{picture.name} cannot be read: {error.strerror or error}") from None
    try:
        file = Image.open(io.BytesIO(data), formats=readable_formats())
        size = file.size
        orientation = read_orientation(file)
        animated = file.format != "MPO" and getattr(file, "is_animated", False)  # MPO: several pictures of a camera
        if at_least:
            file.draft(None, (at_least, at_least))
        file.load()
        turn = TURNS.get(read_orientation(file))  # read again, because Pillow has turned a TIFF when it loaded it
        upright = file.transpose(turn) if turn is not None else file
        upright.info = file.info
        image, notes = to_srgb(upright, picture.name)
    except BadInput:
        raise
    except UnidentifiedImageError:
        raise BadInput(f"{picture.name} is not a picture that Pillow can read; save it as JPEG or PNG") from None
    except Image.DecompressionBombError as error:
        raise BadInput(f"{picture.name} is too large: {str(error).partition(',')[0]}; scale it down") from None
    except Exception as error:  # Pillow's decoders raise many kinds: OSError, RuntimeError, struct.error
        raise BadInput(f"{picture.name} is damaged or cannot be read: {error}") from None
    if not at_least or file.format not in ("JPEG", "MPO"):
        size = image.size
    elif orientation in ON_ITS_SIDE:
        size = (size[1], size[0])
    if animated:
        notes += (f"{picture.name} has several pictures in it, of which the first is used",)
    return Decoded(image, size, orientation, hashlib.sha256(data).digest(), notes)


@cache
def readable_formats() -> list[str]:
    """Those of PICTURE_FORMATS that this build of Pillow can read."""
    Image.init()
    return [name for name in PICTURE_FORMATS if name in Image.OPEN]


def read_orientation(file: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 if there is none, or if the EXIF data are damaged."""
    try:
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow's EXIF reader raises many kinds
        return 1
    return orientation if orientation in TURNS else 1


def to_srgb(image: Image.Image, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    """A picture of any mode as sRGB, and lines for the user about its colour profile.

    It is "RGBA" if parts of it are transparent, else "RGB"; its ICC profile, if it has one, is applied. Raises BadInput
    for floating-point numbers.
    """
    if image.mode == "F":
        raise BadInput(f"{name} holds floating-point numbers; save it as an 8-bit picture")
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow's convert would cut off at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if not profile:
        return plain, ()
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        colours = {"RGB": plain, "GRAY": plain.convert("L"), "CMYK": image if image.mode == "CMYK" else None}.get(space)
        if colours is None:
            return plain, (f"{name}: its {space} colour profile does not fit and is ignored",)
        target = "RGBA" if colours.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(colours, source, ImageCms.createProfile("sRGB"), outputMode=target)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return plain, (f"{name}: its colour profile is damaged and is ignored",)
    assert converted is not None  # it is None only when it works in place
    if plain.mode == "RGBA":
        converted.putalpha(plain.getchannel("A"))
    return converted, ()


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """The largest central square, scaled to (size, size)."""
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def to_pixels(image: Image.Image) -> Tensor:
    """An RGB picture as (3, h, w) float32 in [-1, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1
