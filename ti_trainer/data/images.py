"""Reading pictures: upright, in sRGB, and without trusting the file."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Condition, Lock

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import BadInput
from ..files.reach import EVERYWHERE, Reach
from ..files.reading import PICTURE, read
from ..files.wording import printable, reason
from .containers import check_parts

# A file's content decides, not its name. Pillow reads more formats, but one of them starts Ghostscript.
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "AVIF", "HEIF")
HEIC = re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)  # how files of iPhones begin

MOST_PIXELS = 120_000_000  # 12,000 x 10,000: cameras have up to 108 million, and each needs some eight bytes
LONGEST_SIDE = 65_535  # the longest of a JPEG; with longer ones, a picture of a few columns takes minutes

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

STRIP = 2**20  # pixels that are converted at once
HEADERS = Lock()  # because warnings are switched off for all threads together


@dataclass(frozen=True)
class Picture:
    """How the bytes of a picture are read, wherever they lie, and the name that messages use for it."""

    name: str
    read: Callable[[], bytes] = field(repr=False, compare=False)

    @classmethod
    def at(cls, path: Path, reach: Reach = EVERYWHERE) -> Picture:
        """A file; what may be read is asked again each time, because a link may have been changed."""
        return cls(printable(path), lambda: read(reach.resolve(path), PICTURE))


@dataclass(frozen=True)
class Decoded:
    """An upright picture in sRGB, with its alpha channel if it has one."""

    image: Image.Image  # "RGB" or "RGBA"
    size: tuple[int, int]  # width, height of the upright picture, also if `image` was decoded at a smaller size
    orientation: int  # EXIF's, as the file stores it
    digest: bytes  # SHA-256 of the file
    notes: tuple[str, ...]  # lines for the user


def read_image(picture: Picture, alpha_color: str = "white") -> Image.Image:
    """An upright RGB picture, with `alpha_color` behind its transparent parts; raises BadInput if it is damaged."""
    return on_ground(decode(picture).image, alpha_color)


def on_ground(image: Image.Image, alpha_color: str) -> Image.Image:
    """A picture as RGB, with a colour behind its transparent parts."""
    if image.mode == "RGB":
        return image

    def laid(strip: Image.Image) -> Image.Image:
        ground = Image.new("RGBA", strip.size, alpha_color)
        ground.alpha_composite(strip)
        return ground.convert("RGB")

    return in_strips(image, "RGB", laid)


def in_strips(image: Image.Image, mode: str, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """A change of a picture in which each pixel is for itself; in strips, so that what lies between takes no memory.

    mode: of what `change` makes of a strip.
    """
    changed = Image.new(mode, image.size)
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        changed.paste(change(image.crop((0, top, image.width, min(top + rows, image.height)))), (0, top))
    return changed


def decode(picture: Picture, at_least: int | None = None) -> Decoded:
    """A picture, upright and in sRGB; raises BadInput, naming it, if it is damaged or too large.

    at_least: as `open_picture` takes it.
    """
    return open_picture(picture, at_least).decode()


def open_picture(picture: Picture, at_least: int | None = None) -> Opened:
    """A picture of which only the header has been read; raises BadInput, naming it, if it is damaged or too large.

    at_least: a JPEG is decoded at an eighth, a quarter or a half of its size if both sides keep at least so many
    pixels, which is faster. All of the file is read all the same, so damage is found.
    """
    try:
        data = picture.read()
    except OSError as error:
        raise BadInput(f"{picture.name} cannot be read: {error.strerror or error}") from None
    check_parts(data, picture.name)
    if HEIC.match(data) and "HEIF" not in readable_formats():
        raise BadInput(
            f"{picture.name} is a HEIC picture, which needs a package: pip install pillow-heif, which the extra [heif] "
            "does too; or save it as JPEG"
        )
    with explained(picture.name):
        with HEADERS, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limits here are others
            file = Image.open(io.BytesIO(data), formats=readable_formats())
        check_size(file.size, picture.name)
        is_jpeg = file.format in ("JPEG", "MPO")
        orientation = read_orientation(file)
        width, height = file.size
        if at_least:
            file.draft(None, (at_least, at_least))
        size = (height, width) if orientation in ON_ITS_SIDE else (width, height)
        return Opened(picture.name, data, file, orientation, size if is_jpeg else None)


@dataclass(frozen=True)
class Opened:
    """A picture of which only the header has been read."""

    name: str
    data: bytes
    file: Image.Image
    orientation: int  # EXIF's, as the file stores it
    size: tuple[int, int] | None  # of the upright picture, where it may be decoded smaller

    @property
    def pixels(self) -> int:
        """How many are decoded."""
        return self.file.width * self.file.height

    def decode(self) -> Decoded:
        """The picture; raises BadInput, naming it, if it is damaged."""
        file = self.file
        with explained(self.name):
            animated = file.format != "MPO" and getattr(file, "is_animated", False)  # MPO: several of a camera
            file.load()
            turn = TURNS.get(read_orientation(file))  # read again, because Pillow has turned a TIFF when it loaded it
            upright = file.transpose(turn) if turn is not None else file
            upright.info = file.info
            image, notes = to_srgb(upright, self.name)
        if animated:
            notes += (f"{self.name} has several pictures in it, of which the first is used",)
        digest = hashlib.sha256(self.data).digest()
        return Decoded(image, self.size or image.size, self.orientation, digest, notes)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what Pillow raises inside the block into BadInput that names the picture."""
    try:
        yield
    except BadInput:
        raise
    except UnidentifiedImageError:
        raise BadInput(f"{name} is not a picture that Pillow can read; save it as JPEG or PNG") from None
    except Image.DecompressionBombError as error:
        raise BadInput(f"{name} is too large: {str(error).partition(',')[0]}; scale it down") from None
    except Exception as error:  # Pillow's decoders raise many kinds: OSError, RuntimeError, struct.error
        raise BadInput(f"{name} is damaged or cannot be read: {reason(error)}") from None


def check_size(size: tuple[int, int], name: str) -> None:
    """Raises BadInput for a picture that has too many pixels, or a side that is too long."""
    width, height = size
    if max(size) > LONGEST_SIDE:
        raise BadInput(f"{name} is {width:,} x {height:,}, and a side has at most {LONGEST_SIDE:,} pixels; cut it up")
    if width * height > MOST_PIXELS:
        raise BadInput(f"{name} is {width:,} x {height:,}, more than {MOST_PIXELS:,} pixels; scale it down")


class Room:
    """Room in memory for so many pixels of pictures that are decoded at once, by any number of threads."""

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.taken = 0
        self.changed = Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Wait until there is room; a picture that needs more than there is comes alone."""
        with self.changed:
            self.changed.wait_for(lambda: not self.taken or self.taken + pixels <= self.pixels)
            self.taken += pixels
        try:
            yield
        finally:
            with self.changed:
                self.taken -= pixels
                self.changed.notify_all()


ROOM = Room(MOST_PIXELS)


@cache
def readable_formats() -> list[str]:
    """Those of PICTURE_FORMATS that this build of Pillow can read, HEIF with the extra [heif]."""
    Image.init()
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
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
        image = in_strips(image, "L", eight_bits)
    wanted = "RGBA" if image.has_transparency_data else "RGB"
    plain = image if image.mode == wanted else image.convert(wanted)
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


def eight_bits(image: Image.Image) -> Image.Image:
    """A picture in 16 bits of grey, "I" or "I;16", as "L"."""
    return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """The largest central square, scaled to (size, size)."""
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def to_pixels(image: Image.Image) -> Tensor:
    """An RGB picture as (3, h, w) float32 in [-1, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1
