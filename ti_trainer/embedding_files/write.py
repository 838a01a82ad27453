"""Writing embedding files: atomically, and nothing but what belongs in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ..atomic import write_bytes
from .formats import FORMATS, Embedding


def write_embedding(embedding: Embedding, path: Path, file_format: str) -> list[Path]:
    if file_format == "diffusers" and len(embedding.vectors) > 1:
        paths = [path, path.with_stem(path.stem + "_2")]
        for each, (slot, vectors) in zip(paths, embedding.vectors.items(), strict=True):
            write_one(Embedding(embedding.token, {slot: vectors}, embedding.metadata), each, file_format)
        return paths
    write_one(embedding, path, file_format)
    return [path]


def write_one(embedding: Embedding, path: Path, file_format: str) -> None:
    """Write `path` (.safetensors) in one of FORMATS.

    Tensors are float32, 2-D and cloned: a slice of a big table must not drag the table along. The metadata gets
    `modelspec.hash_sha256`, the hash of the tensors' bytes (ModelSpec 1.0.1).
    """
    tensors = {
        key: tensor.detach().to("cpu", torch.float32).clone(memory_format=torch.contiguous_format)
        for key, tensor in FORMATS[file_format](embedding).items()
    }
    payload = save(tensors)
    header = 8 + int.from_bytes(payload[:8], "little")
    digest = "0x" + hashlib.sha256(payload[header:]).hexdigest()
    write_tensors(tensors, {"format": "pt", **embedding.metadata, "modelspec.hash_sha256": digest}, path)


def write_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """A safetensors file at `path`, the same bytes for the same content, whole or not at all."""
    write_bytes(sort_metadata(save(dict(tensors), dict(metadata))), path)


def sort_metadata(payload: bytes) -> bytes:
    """The same file with its metadata in order: safetensors writes them in the order of a hash table."""
    size = int.from_bytes(payload[:8], "little")
    header = json.loads(payload[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    return len(text).to_bytes(8, "little") + text + payload[8 + size :]
