"""The parts of picture files, counted as the formats define them."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ti_trainer.data.containers import MOST_PARTS, blocks_of_gif, check_parts, chunks_of_png, segments_of_jpeg
from ti_trainer.errors import BadInput


def saved(kind: str, size: int = 200, **how: Any) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **how)
    return buffer.getvalue()


def test_chunks() -> None:
    """Random pixels do not compress: 64 KiB of data in each IDAT, as Pillow writes them."""
    kinds = list(chunks_of_png(saved("PNG")))
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert set(kinds[1:-1]) == {b"IDAT"}
    assert len(kinds[1:-1]) == -(-(200 * 601) // 2**16)


@pytest.mark.parametrize(("progressive", "scans"), [(False, 1), (True, 10)])
def test_scans(progressive: bool, scans: int) -> None:
    """libjpeg's standard script for colour has ten (jcparam.c, jpeg_simple_progression)."""
    data = saved("JPEG", progressive=progressive, quality=100)
    assert list(segments_of_jpeg(data)).count(b"\xda") == scans
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(data[:4000]) + 2) + data[:4000]  # within EXIF: no scans of its own
    assert list(segments_of_jpeg(data[:2] + thumbnail + data[2:])).count(b"\xda") == scans
    film = re.sub(rb"\xff{64}", b"", np.random.default_rng(0).bytes(2**20))  # behind the picture, as phones have it
    assert b"\xff\xda" in film
    assert list(segments_of_jpeg(data + film)).count(b"\xda") == scans


def test_blocks() -> None:
    """A comment and two pictures, of which the first is counted: its data come in blocks of 255 bytes."""
    frames = [Image.new("L", (50, 50), shade) for shade in (10, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], comment=b"c" * 600)
    data = buffer.getvalue()
    assert list(blocks_of_gif(data)).count(b"\xff") >= 2  # of the comment
    assert len(list(blocks_of_gif(data))) < 20
    large = list(blocks_of_gif(saved("GIF", 400)))
    assert len(large) > 400 * 400 / 255


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff", b"GIF89a", b"GIF89a!,", b"RIFF"]
)
def test_torn_files_have_an_end(data: bytes) -> None:
    check_parts(data, "x")


def test_pictures_may_have_many_parts_but_not_any_number() -> None:
    chunk = b"\0\0\0\0abCd\0\0\0\0"
    check_parts(b"\x89PNG\r\n\x1a\n" + chunk * MOST_PARTS, "x.png")
    with pytest.raises(BadInput, match=r"^x\.png is in more pieces than a picture needs; save it anew$"):
        check_parts(b"\x89PNG\r\n\x1a\n" + chunk * (MOST_PARTS + 1), "x.png")
    scan = b"\xff\xda\0\2"
    check_parts(b"\xff\xd8" + scan * 100, "x.jpg")
    with pytest.raises(BadInput, match=r"^x\.jpg is in more pieces"):
        check_parts(b"\xff\xd8" + scan * 101, "x.jpg")
