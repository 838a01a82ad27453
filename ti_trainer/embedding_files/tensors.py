"""Reading and writing safetensors files; the same content always gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import BadInput
from ..files.reading import open_regular
from ..files.wording import reason

MAX_HEADER = 4 * 2**20  # bytes; the header of a whole Flux checkpoint has 0.2 million
# Each tensor has one: a LoRA has up to 4,000, and trainers' notes about data sets, which are metadata, some hundred.
MAX_BRACES = 8_000


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    The tensors are views of the mapped file, so a large file takes no memory before they are used. Raises BadInput for
    a damaged file.
    """
    with open_regular(path, str(path)) as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MAX_HEADER:
            raise BadInput(f"{path} has a header of {size:,} bytes, and {MAX_HEADER:,} is the most for an embedding")
        braces = file.read(size).count(b"{")
    if braces > MAX_BRACES:
        raise BadInput(f"{path} has a header for {braces:,} tensors: it is no embedding")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # SafetensorError, or what torch raises for types that it does not know
        raise BadInput(f"{path} is no whole safetensors file: {reason(error)}") from None


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file, the same bytes for the same content."""
    return sort_metadata(save(dict(tensors), dict(metadata)))


def modelspec_hash(tensors: Mapping[str, Tensor]) -> str:
    """The hash of ModelSpec 1.0.1: "0x" and the SHA-256 of the part of a safetensors file that holds the tensors."""
    payload = save(dict(tensors))
    header = 8 + int.from_bytes(payload[:8], "little")
    return "0x" + hashlib.sha256(payload[header:]).hexdigest()


def sort_metadata(payload: bytes) -> bytes:
    """The same file with sorted metadata; safetensors writes them in the order of a hash table, which varies."""
    size = int.from_bytes(payload[:8], "little")
    header = json.loads(payload[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors have to begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + payload[8 + size :]
