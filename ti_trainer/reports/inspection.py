"""What an embedding file holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config.config import ModelConfig
from ..embedding_files import Embedding, read_embedding
from ..families import TextSlot, load_family
from ..files.wording import printable

NEAREST = 5


def inspect(embedding: str, model: ModelConfig | None = None, token: str | None = None) -> dict[str, Any]:
    """Family, vectors, norms and metadata of a file; with a model also norms against its vocabulary's, nearest words.

    Raises BadInput when the file is none of `read_embedding`, or when it is for another family than the model.
    """
    found = read_embedding(embedding, token)
    slots = load_family(model, torch.device("cpu"), torch.float32).slots if model else ()
    return contents(found, {slot.name: slot for slot in slots})


def contents(embedding: Embedding, slots: Mapping[str, TextSlot]) -> dict[str, Any]:
    """The figures of an embedding; slots: of the model whose vocabulary it is compared with, or none."""
    vectors = embedding.fit({name: slot.width for name, slot in slots.items()}) if slots else embedding.vectors
    encoders = {}
    for name, rows in vectors.items():
        norms = [round(norm, 6) for norm in rows.norm(dim=1).tolist()]
        encoders[name] = {"width": rows.shape[1], "norms": norms}
        if slots:
            table, tokenizer = slots[name].table.detach().float().cpu(), slots[name].tokenizer
            encoders[name]["vocabulary"] = near_vocabulary(rows, table, tokenizer.convert_ids_to_tokens)
    return {
        "file": embedding.source,
        "token": embedding.token,
        "families": list(embedding.families),
        "vectors": embedding.num_vectors,
        "text_encoders": encoders,
        "metadata": dict(sorted(embedding.metadata.items())),
    }


def near_vocabulary(rows: Tensor, table: Tensor, words: Any) -> list[dict[str, Any]]:
    """rows (n, d), table (V, d) -> for each row its norm in units of the median word's, and its nearest words."""
    typical = table.norm(dim=1).median()
    found = []
    for row in rows:
        cosines, ids = F.cosine_similarity(row[None], table, dim=1).topk(min(NEAREST, len(table)))  # (NEAREST,)
        names = [word.removesuffix("</w>") for word in words(ids.tolist())]
        found.append(
            {
                "norm_ratio": (row.norm() / typical).item(),
                "nearest": [[name, cosine] for name, cosine in zip(names, cosines.tolist(), strict=True)],
            }
        )
    return found


def inspection_text(figures: Mapping[str, Any], as_json: bool) -> str:
    """The figures for people, or as JSON."""
    if as_json:
        return json.dumps(figures)
    lines = [
        figures["file"],
        f"  token     {figures['token']}",
        f"  vectors   {figures['vectors']}",
        f"  for       {' or '.join(figures['families']) or 'no published model: no family has these widths'}",
    ]
    for name, encoder in figures["text_encoders"].items():
        norms = ", ".join(f"{norm:.3f}" for norm in encoder["norms"])
        lines.append(f"  {name:9} width {encoder['width']}, norms {norms}")
        for number, row in enumerate(encoder.get("vocabulary", [])):
            near = ", ".join(f"{word} {cosine:.2f}" for word, cosine in row["nearest"])
            lines.append(f"    row {number}: norm {row['norm_ratio']:.2f} x median word; near {near}")
    lines += [f"  {key} = {value}" for key, value in figures["metadata"].items()]
    return "\n".join(printable(line) for line in lines)  # metadata may hold control characters
