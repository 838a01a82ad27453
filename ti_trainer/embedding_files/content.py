"""What kind of file it is, told by its first bytes and never by its name, and what was parsed out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadInput
from .cards import read_card
from .pickles import read_pickle
from .tensors import read_tensors

MAX_BYTES = 64 * 2**20  # of files that are read whole; safetensors files are mapped, and may be large LoRAs
HEAD = 512

PICTURES = (b"\x89PNG\r\n\x1a\n", b"RIFF", b"\xff\xd8\xff", b"GIF8", b"BM")


@dataclass(frozen=True)
class Content:
    """What was parsed out of a file; none of it is trusted yet."""

    path: Path
    data: Any
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The keys of the data, where it is a mapping."""
        return [key for key in self.data if isinstance(key, str)] if isinstance(self.data, dict) else []


def parse(path: Path) -> Content:
    """The content of a safetensors file, a pickle or a picture.

    Raises BadInput, naming the file, for anything else, and for files that are damaged or would run code.
    """
    if not path.is_file():
        raise BadInput(f"{path} is not a file")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
    kind, reader = kind_of(head, size)
    if reader is None:
        raise BadInput(f"{path} {kind}")
    if reader is read_tensors:
        return Content(path, *read_tensors(path))
    if size > MAX_BYTES:
        raise BadInput(f"{path} is a {kind} of {size:,} bytes: an embedding has a few thousand")
    return Content(path, reader(path))


def kind_of(head: bytes, size: int) -> tuple[str, Callable[[Path], Any] | None]:
    """What a file is and what reads it, from its first bytes; or why it is nothing to read, and None."""
    text = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    claimed = int.from_bytes(head[:8], "little")
    # before the others: headers of 640 and of 19,778 bytes begin as pickles and as bitmaps do
    if head[8:9] == b"{" and claimed <= size - 8:
        return "safetensors file", read_tensors
    if head.startswith(PICTURES):
        return "picture", read_card
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return "pickle", read_pickle
    if not head:
        return "is empty: copy or download it again", None
    if text.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer and not the file itself: run 'git lfs pull', or download it by hand", None
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, which a failed download leaves: download the file again", None
    if head[8:9] == b"{":
        return f"is truncated: it claims a header of {claimed:,} bytes and has {size:,}; download it again", None
    return "is no safetensors file, no pickle of torch and no picture", None
