"""The model families; what a model is, is read from its own configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..config.model import ModelConfig
from ..embedding_files import Embedding, read_embedding
from ..errors import BadInput
from .base import Family, FamilySpec
from .borrowing import borrow
from .conditioning import Conditioning
from .loading import load_pipeline, load_vae, loads_embeddings, pipeline_class
from .shadows import share_weights
from .slots import TextSlot, add_words, has_words, set_end_of_text, set_words, text_slots
from .table import FAMILIES, checkpoint_layouts, family_of, known_kinds

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

__all__ = [
    "FAMILIES",
    "Conditioning",
    "Family",
    "FamilySpec",
    "TextSlot",
    "borrow_family",
    "fastest_device",
    "load_family",
    "load_into_pipeline",
    "load_with_embeddings",
]


def load_family(config: ModelConfig, device: torch.device, dtype: torch.dtype) -> Family:
    """The family of a model, with its weights frozen.

    Raises BadInput when there is no such model, when a part of it is missing, or when no family fits it.
    """
    name = pipeline_class(config, checkpoint_layouts())
    kind = family_of(name, config)
    pipeline = load_pipeline(name, config, dtype)
    return kind(pipeline, config, device, dtype, load_vae(pipeline, config))


def borrow_family(pipeline: DiffusionPipeline, config: ModelConfig, device: torch.device) -> Family:
    """The family of a loaded pipeline, which stays as it is; the two share their weights.

    The weights keep their type. Raises BadInput when no family fits the pipeline.
    """
    kind = family_of(type(pipeline).__name__, config)
    dtype = getattr(pipeline, kind.denoiser_part).dtype
    return kind(borrow(pipeline), config, device, dtype, partial(share_weights, pipeline.vae))


def fastest_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_with_embeddings(model: ModelConfig, embeddings: Sequence[Embedding]) -> Family:
    """The model with the rows of embedding files in their places; raises BadInput when a file does not fit."""
    device = fastest_device()
    left_out = {slot for embedding in embeddings for slot in embedding.left_out}
    if left_out and not model.train_slots:
        model = replace(model, train_slots=tuple(slot for slot in embeddings[0].vectors if slot not in left_out))
    family = load_family(model, device, torch.float16 if device.type == "cuda" else torch.float32)
    widths = {slot.name: slot.width for slot in family.slots}
    for embedding in embeddings:
        if embedding.token in family.placeholders.present:
            raise BadInput(f"two of the embedding files are called '{embedding.token}': draw them one at a time")
        family.placeholders.add(embedding.token, embedding.fit(widths))
    return family


def load_into_pipeline(pipeline: DiffusionPipeline, embedding: str | Path | Embedding, token: str | None = None) -> str:
    """Load an embedding, or the file of one, into a diffusers pipeline; returns what to write in prompts.

    That is the token where the pipeline finds a token's further vectors by itself, as Stable Diffusion's do; else a
    word for each vector: "<my-cat> <my-cat>_1". Every text encoder gets its vectors. Sets each encoder's end-of-text id
    to its tokenizer's: encoders that carry `eos_token_id: 2` pool at the highest id, which would be the new token.
    Qwen's tokenizers read the text beside the word apart from then on, as ComfyUI does (reading_apart.py).
    A token that was loaded before gets the new vectors. Raises BadInput when the embedding does not fit the model, or
    when the token has another number of vectors there.
    """
    embedding = embedding if isinstance(embedding, Embedding) else read_embedding(embedding)
    token = token or embedding.token
    family = FAMILIES.get(type(pipeline).__name__)
    slots = text_slots(pipeline, family.kinds if family else known_kinds())
    vectors = embedding.fit({slot.name: slot.width for slot in slots})
    words = [token, *(f"{token}_{number}" for number in range(1, embedding.num_vectors))]  # as diffusers names them
    finds_words = loads_embeddings(pipeline)
    for slot in slots:
        set_end_of_text(slot)
        if slot.name not in vectors:  # of an embedding that leaves it out: it reads the word as it is written
            continue
        rows = vectors[slot.name]
        if has_words(slot, words):
            set_words(slot, words, rows)
        elif finds_words:  # this also takes care of pipelines whose parts lie partly on the disk or the CPU
            pipeline.load_textual_inversion(
                {token: rows}, token=token, text_encoder=slot.encoder, tokenizer=slot.tokenizer
            )
        else:
            add_words(slot, words, rows)
    return token if finds_words else " ".join(words)
