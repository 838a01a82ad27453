"""Pictures as text, for files that hold everything themselves."""

from __future__ import annotations

import base64
import io

from PIL import Image, ImageOps

SMALL = 128  # pixels: JPEG's noise shows in pictures up to this side, and PNG has none


def data_uri(image: Image.Image, side: int) -> str:
    """A picture, scaled down to fit a square of `side` pixels, as a URL that holds it: JPEG, or PNG for a small one."""
    shown = image.convert("RGB")
    if max(shown.size) > side:
        shown = ImageOps.contain(shown, (side, side), Image.Resampling.LANCZOS)
    return encoded(shown, "png" if max(shown.size) <= SMALL else "jpeg")


def jpeg_uri(image: Image.Image) -> str:
    """A picture as it is, as a URL that holds a JPEG."""
    return encoded(image.convert("RGB"), "jpeg")


def encoded(image: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, quality=88, optimize=True)
    return file_uri(buffer.getvalue(), kind)


def file_uri(content: bytes, kind: str) -> str:
    """The content of a picture's file as a URL that holds it; kind: png or jpeg."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
