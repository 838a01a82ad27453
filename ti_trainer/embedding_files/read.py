"""Reading embedding files, without trusting them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ..errors import BadInput
from .formats import Embedding

MAX_BYTES = 64 * 2**20
MAX_VECTORS = 75
WIDEST = 8192


def read_embedding(path: str | Path, slot: str = "clip_l") -> Embedding:
    """The embedding in a .safetensors file for one text encoder, under any key; 1-D means one vector.

    Raises BadInput, naming the file, for pickles, broken files, several embeddings, LoRAs and the like.
    """
    path = Path(path)
    if path.suffix.lower() in (".pt", ".bin", ".ckpt"):
        raise BadInput(f"{path} is a pickle, which can run code when read: use the .safetensors file")
    if not path.is_file():
        raise BadInput(f"{path} is not a file")
    if path.stat().st_size > MAX_BYTES:
        raise BadInput(f"{path} has {path.stat().st_size:,} bytes: that is a model, not an embedding")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            keys = list(file.keys())
            if set(keys) == {"clip_l", "clip_g"}:
                return Embedding(
                    metadata.get("ti_trainer.token") or f"<{path.stem}>",
                    {key: file.get_tensor(key) for key in keys},
                    metadata,
                )
            if len(keys) != 1:
                raise BadInput(f"{path} holds {len(keys)} tensors ({', '.join(keys[:4])}); an embedding holds one")
            vectors = file.get_tensor(keys[0])
    except SafetensorError as error:
        raise BadInput(f"{path} is not a safetensors file: {error}") from None
    vectors = vectors[None] if vectors.ndim == 1 else vectors  # (n, d)
    is_number = vectors.is_floating_point()
    vectors = vectors.to(torch.float32)
    if vectors.ndim != 2 or not is_number or not vectors.isfinite().all():
        raise BadInput(f"{path}: '{keys[0]}' of shape {tuple(vectors.shape)} is no embedding of finite numbers")
    if not (1 <= len(vectors) <= MAX_VECTORS and vectors.shape[1] <= WIDEST):
        raise BadInput(
            f"{path} has {len(vectors)} vectors of width {vectors.shape[1]}; at most {MAX_VECTORS} are usable"
        )
    token = metadata.get("ti_trainer.token") or (keys[0] if keys[0].startswith("<") else f"<{path.stem}>")
    return Embedding(token, {slot: vectors}, metadata)
