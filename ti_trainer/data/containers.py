"""How many parts a picture file has, counted before Pillow reads them one by one and a few million take minutes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import BadInput

MOST_PARTS = 200_000  # chunks of a PNG, segments of a JPEG, blocks of a GIF: one of 100 megabytes may have so many
MOST_SCANS = 100  # of a JPEG, over all of its pixels; programs write ten, and thousands fit into a small file
FILL = re.compile(rb"\xff{64}")  # in front of a marker; programs write one or two of them, if any

# ITU-T T.81, B.1.1.3: 0xFF and a code; 0xFF00 is a number among the data, and TEM and RST0 to RST7 have no segment
MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
START_OF_SCAN = b"\xda"
END_OF_IMAGE = b"\xd9"


def check_parts(data: bytes, name: str) -> None:
    """Raises BadInput, naming the picture, for a file of more parts than a picture needs."""
    for start, parts_of in CONTAINERS.items():
        if data.startswith(start):
            scans = 0
            for count, part in enumerate(parts_of(data), 1):
                scans += part == START_OF_SCAN
                if count > MOST_PARTS or scans > MOST_SCANS:
                    raise BadInput(f"{name} is in more pieces than a picture needs; save it anew")


def chunks_of_png(data: bytes) -> Iterator[bytes]:
    """The kind of each chunk (PNG, 5.3)."""
    place = 8
    while place < len(data):
        yield data[place + 4 : place + 8]
        place += 12 + int.from_bytes(data[place : place + 4], "big")


def segments_of_jpeg(data: bytes) -> Iterator[bytes]:
    """The marker of each segment of the first picture, and one for each 64 bytes in the file that fill the space."""
    for fill in FILL.finditer(data):
        yield fill[0]
    place = 2
    while marker := MARKER.search(data, place):
        if marker[1] == END_OF_IMAGE:
            return
        yield marker[1]
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")


def blocks_of_gif(data: bytes) -> Iterator[bytes]:
    """The first byte of each block up to the end of the first picture (GIF89a, 15 to 26), those within blocks too."""
    place = 13 + palette_of_gif(data[10:11])
    while place < len(data) and data[place : place + 1] in (b"!", b","):
        is_picture = data[place : place + 1] == b","
        place += 11 + palette_of_gif(data[place + 9 : place + 10]) if is_picture else 2
        while length := int.from_bytes(data[place : place + 1], "big"):
            yield data[place : place + 1]
            place += 1 + length
        yield b""
        if is_picture:
            return
        place += 1


def palette_of_gif(flags: bytes) -> int:
    """The bytes of the palette that flags announce."""
    bits = int.from_bytes(flags, "big")
    return 3 << (bits % 8 + 1) if bits & 128 else 0


# how a file begins -> what lists its parts
CONTAINERS = {b"\x89PNG\r\n\x1a\n": chunks_of_png, b"\xff\xd8": segments_of_jpeg, b"GIF8": blocks_of_gif}
