"""Picture cards: embeddings inside pictures, a format of A1111.

The content is JSON, in which a tensor is {"TORCHTENSOR": nested lists}. It is in a card twice: as base64 in a text
chunk of the PNG, and in the pixels, for lossless copies without the chunk. For the pixels it is compressed with
deflate. A block of pixels at the left of the picture holds the low four bits of each byte, a block at the right the
high four bits; they are in the low four bits of each colour channel, xor-ed with a fixed sequence. A black column
separates each block from the picture.
"""

from __future__ import annotations

import base64
import io
import json
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ..errors import BadInput
from ..files.reading import EMBEDDING, read
from ..files.wording import flag, reason

TEXT_CHUNK = "sd-ti-embedding"
TENSOR = "TORCHTENSOR"
MAX_PIXELS = 2**23
MAX_JSON = 4 * 2**20  # bytes; 75 vectors of 1280 numbers need two million
MAX_NUMBERS = 75 * 4096  # 75 vectors of the widest text encoder
LONGEST_NUMBER = 20  # letters of a whole number
MAX_PARTS = 10_000  # lists, mappings and keys: parsing makes an object of each before anything can be checked
KINDS = ("PNG", "WEBP", "JPEG", "GIF", "BMP", "AVIF")  # Pillow reads more formats, but one of them starts Ghostscript
SIDE = 512  # pixels of each side of the picture in the middle of a card


class NotACard(ValueError):
    """Why a picture holds no embedding."""


def read_card(path: Path) -> Any:
    """The content of a card, from its text chunk or else from its pixels; raises BadInput when it has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit MAX_PIXELS is stricter
            image = Image.open(io.BytesIO(read(path, EMBEDDING, str(path))), formats=KINDS)
        if image.width * image.height > MAX_PIXELS:
            raise NotACard(f"it has {image.width} x {image.height} pixels, more than a card has")
        image.load()
        text = getattr(image, "text", {}).get(TEXT_CHUNK)
        if text is None:
            return from_json(read_pixels(np.asarray(image.convert("RGB"))))
        if len(text) > MAX_JSON * 4 // 3:
            raise NotACard(f"its text has {len(text):,} letters, more than a card needs")
        return from_json(base64.b64decode(text, validate=True))
    except BadInput:
        raise
    except NotACard as why:
        raise BadInput(
            f"{path} is a picture that holds no embedding: {why}. A card that was saved as a JPEG, scaled or "
            "screenshot has lost it: ask for the original PNG"
        ) from None
    except Exception as error:  # Pillow's decoders raise many kinds: OSError, RuntimeError, struct.error
        raise BadInput(f"{path} is a damaged picture, or holds a damaged embedding: {reason(error)}") from None


def from_json(text: bytes) -> Any:
    """The content of a card's JSON, with tensors in it.

    Raises NotACard for NaN and Infinity, which JSON does not have, for whole numbers that are too long, for more parts
    than an embedding's, and for lists and mappings that lie too deep in each other.
    """

    def refuse(word: str) -> NoReturn:
        raise NotACard(f"it has {word} among its numbers")

    def whole(digits: str) -> int:
        if len(digits) > LONGEST_NUMBER:
            raise NotACard(f"it has a number of {len(digits):,} digits")
        return int(digits)

    def revive(mapping: dict[str, Any]) -> Any:
        return torch.tensor(mapping[TENSOR], dtype=torch.float64) if TENSOR in mapping else mapping

    if len(text) > MAX_JSON:
        raise NotACard(f"its content has {len(text):,} letters, more than an embedding needs")
    if sum(map(text.count, (b"[", b"{", b":"))) > MAX_PARTS or text.count(b",") > MAX_NUMBERS + MAX_PARTS:
        raise NotACard("its content has more parts than an embedding's")
    try:
        return json.loads(text, object_hook=revive, parse_constant=refuse, parse_int=whole)
    except RecursionError:
        raise NotACard("its lists and mappings lie too deep in each other") from None


def to_json(content: Mapping[str, Any]) -> bytes:
    """The inverse of `from_json`."""
    return json.dumps(content, default=lambda tensor: {TENSOR: tensor.tolist()}).encode()


def scramble(count: int) -> NDArray[np.uint8]:
    """The sequence of half-bytes (count,) that is xor-ed with the pixels.

    Each is the low four bits of s modulo 255, where s is a state of the linear congruential generator
    x -> a x + c modulo 2^32. k steps of it are one step with another a and c, so each round of the loop doubles the
    sequence.
    """
    factor = 1664525  # a of as many steps as there are states
    offset = 1013904223  # their c
    mask = 2**32 - 1
    states = np.array([offset], dtype=np.uint64)
    while len(states) < count:
        states = np.concatenate([states, (states * np.uint64(factor) + np.uint64(offset)) & np.uint64(mask)])
        offset = (factor * offset + offset) & mask
        factor = factor * factor & mask
    return (states[:count] % np.uint64(255)).astype(np.uint8) & 0x0F


def read_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """The JSON in the pixels of a card, (h, w, 3); raises NotACard when there is none."""
    lit = np.all(pixels > 0, axis=2)  # (h, w)
    rows = lit.any(1).nonzero()[0]
    columns = lit.any(0).nonzero()[0]
    if not len(rows):
        raise NotACard("it is black")
    low = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] & 0x0F  # without a black frame
    (black,) = (low == 0).all((0, 2)).nonzero()
    if len(black) < 2:
        raise NotACard("no black columns part data from picture")
    left = low[:, : black[0]].ravel()[:MAX_JSON]  # (channels of the block,)
    right = low[:, black[-1] + 1 :].ravel()[:MAX_JSON]
    count = min(len(left), len(right))
    first, second = (half[:count] ^ scramble(count) for half in (left, right))
    stream = zlib.decompressobj()
    try:
        text = stream.decompress((second << 4 | first).tobytes(), MAX_JSON + 1)
    except zlib.error:
        raise NotACard("what lies beside its black columns is no data") from None
    if not stream.eof and len(text) <= MAX_JSON:
        raise NotACard("the data in its pixels is cut off")
    return text


def write_pixels(text: bytes, picture: Image.Image) -> Image.Image:
    """The picture between two blocks of pixels that hold the text."""
    data = np.frombuffer(zlib.compress(text, 9), dtype=np.uint8)
    height = picture.height
    blocks = []
    for half in (data & 0x0F, data >> 4):
        padded = np.resize(half, -(-len(half) // (3 * height)) * 3 * height)
        block = padded ^ scramble(len(padded))
        # Readers cut off black edges. The high bits hold nothing, so some are set, and no edge of a block is black.
        blocks.append(Image.fromarray((block | 0x30).reshape(height, -1, 3)))  # (h, columns, 3)
    left, right = blocks
    card = Image.new("RGB", (left.width + picture.width + right.width + 2, height), "black")
    card.paste(left, (0, 0))
    card.paste(picture, (left.width + 1, 0))
    card.paste(right, (left.width + picture.width + 2, 0))
    return card


def card_bytes(content: Mapping[str, Any], title: str, picture: Image.Image) -> bytes:
    """A PNG card: a picture, cropped to a square, with a title on it and the content in the text chunk and the pixels.

    Raises BadInput for an embedding that is too large for a card.
    """
    text = to_json(content)
    if len(text) > MAX_JSON:
        raise BadInput(
            f"{title} needs {len(text):,} letters, more than a card holds: write another {flag('to')} format"
        )
    square = ImageOps.fit(picture.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(square)
    draw.rectangle((0, SIDE - 64, SIDE, SIDE), fill=(16, 18, 24))
    draw.text((SIDE // 2, SIDE - 32), title, fill="white", font=ImageFont.load_default(24), anchor="mm")
    chunk = PngInfo()
    chunk.add_text(TEXT_CHUNK, base64.b64encode(text).decode())
    buffer = io.BytesIO()
    write_pixels(text, square).save(buffer, format="PNG", pnginfo=chunk)
    return buffer.getvalue()


def draw_numbers(vectors: Tensor) -> Image.Image:
    """A picture for a card without one: numbers of the vectors (n, d) as coloured squares."""
    numbers = np.resize(vectors.numpy(), (24, 24))
    shades = np.tanh(numbers / (numbers.std() + 1e-12) / 2)  # (24, 24) in -1..1
    warm = shades.clip(0, 1)[..., None]  # (24, 24, 1)
    cool = (-shades).clip(0, 1)[..., None]
    colours = 40 + warm * np.array([200, 120, 40]) + cool * np.array([30, 110, 200])  # (24, 24, 3)
    return Image.fromarray(colours.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.NEAREST)
