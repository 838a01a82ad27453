"""What kind a file is, by its first bytes and not by its name, and what it contains."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..files.reading import EMBEDDING, open_regular
from .cards import read_card
from .pickles import read_pickle
from .tensors import read_tensors

HEAD = 512  # bytes at the beginning that tell the kind

PICTURES = (b"\x89PNG\r\n\x1a\n", b"RIFF", b"\xff\xd8\xff", b"GIF8", b"BM")


@dataclass(frozen=True)
class Content:
    """What was parsed from a file; nothing in it has been checked yet."""

    path: Path
    data: Any
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The keys of the data that are text; none if it is not a mapping."""
        return [key for key in self.data if isinstance(key, str)] if isinstance(self.data, dict) else []


def parse(path: Path) -> Content:
    """The content of a safetensors file, a pickle or a picture.

    Raises BadInput, naming the file, for anything else, and for files that are damaged or would run code.
    """
    with open_regular(path, str(path)) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(HEAD)
    kind, reader = kind_of(head, size)
    if reader is None:
        raise BadInput(f"{path} {kind}")
    if reader is read_tensors:
        return Content(path, *read_tensors(path))
    if size > EMBEDDING.most:
        raise BadInput(f"{path} is a {kind} of {size:,} bytes: an embedding has a few thousand")
    return Content(path, reader(path))


def kind_of(head: bytes, size: int) -> tuple[str, Callable[[Path], Any] | None]:
    """What a file is and what reads it, by its first bytes; for a file that cannot be read, the reason and None."""
    text = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    claimed = int.from_bytes(head[:8], "little")
    # This comes first, because a header of 640 bytes begins like a pickle, and one of 19,778 bytes like a bitmap.
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
