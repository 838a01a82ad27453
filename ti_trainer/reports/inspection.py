"""What an embedding file holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..config.model import ModelConfig
from ..embedding_files import Embedding, read_embedding
from ..families import TextSlot, load_family
from ..files.wording import escaped
from ..method.lengths import word_length
from ..method.nearest import nearest_words

NEAREST = 5  # words that are shown for each vector


def inspect(embedding: str, model: ModelConfig | None = None, token: str | None = None) -> dict[str, Any]:
    """Families, vectors, norms and metadata of an embedding file.

    With a model, also how long each vector is in comparison with the words of its vocabulary, and the nearest words.
    token: which embedding of several, or a new name. Raises BadInput when the file cannot be read, or when it is for
    another family than the model.
    """
    found = read_embedding(embedding, token)
    slots = load_family(model, torch.device("cpu"), torch.float32).slots if model else ()
    return contents(found, {slot.name: slot for slot in slots})


def contents(embedding: Embedding, slots: Mapping[str, TextSlot]) -> dict[str, Any]:
    """The figures of an embedding; slots: of the model with which it is compared, by name, or none."""
    vectors = embedding.fit({name: slot.width for name, slot in slots.items()}) if slots else embedding.vectors
    encoders = {}
    for name, rows in vectors.items():
        norms = [round(norm, 6) for norm in rows.norm(dim=1).tolist()]
        encoders[name] = {"width": rows.shape[1], "norms": norms}
        if slots:
            encoders[name]["vocabulary"] = near_vocabulary(rows, slots[name])
    return {
        "file": embedding.source,
        "token": embedding.token,
        "families": list(embedding.families),
        "vectors": embedding.num_vectors,
        "negative": embedding.is_negative,
        "text_encoders": encoders,
        "metadata": dict(sorted(embedding.metadata.items())),
    }


def near_vocabulary(rows: Tensor, slot: TextSlot) -> list[dict[str, Any]]:
    """For each of rows (n, d) its length in units of a word's, and the nearest words."""
    ratios = (rows.norm(dim=1) / word_length(slot)).tolist()
    nearest = nearest_words(rows, slot, NEAREST)
    return [
        {"length_ratio": ratio, "nearest": [[word, cosine] for word, cosine in words]}
        for ratio, words in zip(ratios, nearest, strict=True)
    ]


def inspection_text(figures: Mapping[str, Any], as_json: bool) -> str:
    """The figures as text for a person, or as JSON."""
    if as_json:
        return json.dumps(figures)
    lines = [
        figures["file"],
        f"  token     {figures['token']}",
        f"  vectors   {figures['vectors']}",
        f"  for       {' or '.join(figures['families']) or 'no published model: no family has these widths'}",
    ]
    if figures["negative"]:
        lines.append("  use       in the negative prompt: it was made of what is unwanted")
    for name, encoder in figures["text_encoders"].items():
        norms = ", ".join(f"{norm:.3f}" for norm in encoder["norms"])
        lines.append(f"  {name:9} width {encoder['width']}, norms {norms}")
        for number, row in enumerate(encoder.get("vocabulary", [])):
            near = ", ".join(f"{word} {cosine:.2f}" for word, cosine in row["nearest"])
            lines.append(f"    row {number}: length {row['length_ratio']:.2f} x a word's; near {near}")
    lines += [f"  {key} = {shortened(value)}" for key, value in figures["metadata"].items()]
    return "\n".join(escaped(line) for line in lines)  # metadata may hold control characters


def shortened(value: str) -> str:
    """A value of the metadata; of a picture only how long it is."""
    return f"{value[:22]}... ({len(value):,} letters)" if value.startswith("data:image/") else value
