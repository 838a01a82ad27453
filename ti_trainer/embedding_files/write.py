"""Writing embedding files: atomically, and nothing but what belongs in them."""

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
    """Write a file in one of FORMATS, and NAME_2, NAME_3 beside it where it wants one for each text encoder.

    Returns what was written; raises BadInput as `files_of`.
    """
    files = files_of(embedding, path, file_format)
    for place, payload in files.items():
        write_bytes(payload, place)
    return list(files)


def files_of(embedding: Embedding, path: Path, file_format: str) -> dict[Path, bytes]:
    """The files of an embedding in one of FORMATS, path -> bytes.

    Tensors are float32, 2-D and cloned: a slice of a big table must not drag the table along. Raises BadInput for a
    format that is unknown, or that does not hold an embedding of this family.
    """
    row = FORMATS.get(file_format)
    if row is None or row.pack is None:
        known = ", ".join(name for name, row in FORMATS.items() if row.pack)
        raise BadInput(f"'{file_format}' is no format to write; choose one of {known}")
    payloads = row.pack(own_memory(embedding))
    further = [path.with_name(f"{path.stem}_{number}{path.suffix}") for number in range(2, len(payloads) + 1)]
    return dict(zip([path, *further], payloads, strict=True))


def own_memory(embedding: Embedding) -> Embedding:
    vectors = {
        slot: rows.detach().to("cpu", torch.float32).clone(memory_format=torch.contiguous_format)
        for slot, rows in embedding.vectors.items()
    }
    return replace(embedding, vectors=in_order(vectors))


def write_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """A safetensors file at `path`, the same bytes for the same content, whole or not at all."""
    write_bytes(tensor_bytes(tensors, metadata), path)
