"""Writing embedding files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import BadInput
from ..files.atomic import write_bytes
from .embedding import Embedding, in_order
from .formats import FORMATS
from .tensors import tensor_bytes


def write_embedding(embedding: Embedding, path: Path, file_format: str) -> list[Path]:
    """Write an embedding in one of FORMATS; returns the files that were written, each completely or not at all.

    A format that needs a file for each text encoder also gets NAME_2 and NAME_3 beside `path`. Raises BadInput as
    `files_of` does.
    """
    files = files_of(embedding, path, file_format)
    for place, payload in files.items():
        write_bytes(payload, place)
    return list(files)


def files_of(embedding: Embedding, path: Path, file_format: str) -> dict[Path, bytes]:
    """The files of an embedding in one of FORMATS, path -> bytes.

    Raises BadInput for a format that is unknown, not written, or cannot hold an embedding of this family.
    """
    row = FORMATS.get(file_format)
    if row is None or row.pack is None:
        known = ", ".join(name for name, row in FORMATS.items() if row.pack)
        raise BadInput(f"'{file_format}' is no format to write; choose one of {known}")
    payloads = row.pack(own_memory(embedding))
    further = [path.with_name(f"{path.stem}_{number}{path.suffix}") for number in range(2, len(payloads) + 1)]
    return dict(zip([path, *further], payloads, strict=True))


def own_memory(embedding: Embedding) -> Embedding:
    """A copy in float32 on the CPU; a pickle of a slice would contain the whole table that it is cut from."""
    vectors = {
        slot: rows.detach().to("cpu", torch.float32).clone(memory_format=torch.contiguous_format)
        for slot, rows in embedding.vectors.items()
    }
    return replace(embedding, vectors=in_order(vectors))


def write_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """Write a safetensors file, completely or not at all; the same content gives the same bytes."""
    write_bytes(tensor_bytes(tensors, metadata), path)
