"""The model families, one row each; what a model is, is read from its own configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..config.config import ModelConfig
from ..embedding_files import Embedding, read_embedding
from ..errors import BadInput
from .base import Conditioning, Family
from .loading import load_pipeline, pipeline_class
from .sd import StableDiffusion
from .sdxl import StableDiffusionXL
from .slots import TextSlot, set_end_of_text, text_slots

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# pipeline class in model_index.json -> family
FAMILIES: dict[str, Callable[[Any, ModelConfig, torch.device, torch.dtype], Family]] = {
    "StableDiffusionPipeline": StableDiffusion,
    "StableDiffusionXLPipeline": StableDiffusionXL,
}

INPAINTING = "made for inpainting; train on the model that it was made from, the embedding works in both"
# pipeline classes that people try, and why they are no family
REFUSED = {
    "StableDiffusionXLImg2ImgPipeline": "the SDXL refiner: it has only one of SDXL's text encoders and draws over "
    "finished pictures; train on the base model, its file works in pipelines with a refiner",
    "StableDiffusionInpaintPipeline": INPAINTING,
    "StableDiffusionXLInpaintPipeline": INPAINTING,
}

__all__ = [
    "FAMILIES",
    "Conditioning",
    "Family",
    "TextSlot",
    "fastest_device",
    "load_family",
    "load_into_pipeline",
    "load_with_embeddings",
    "text_slots",
]


def load_family(config: ModelConfig, device: torch.device, dtype: torch.dtype) -> Family:
    """The family of a model, with its weights frozen.

    Raises BadInput when there is no such model, when a part of it is missing, or when no family fits it.
    """
    name = pipeline_class(config)
    if name not in FAMILIES:
        known = f"a {name}, for which there is no family; known are {', '.join(FAMILIES)}"
        raise BadInput(f"--model {config.model} is {REFUSED.get(name, known)}")
    return FAMILIES[name](load_pipeline(name, config, dtype), config, device, dtype)


def fastest_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_with_embeddings(model: ModelConfig, embeddings: Sequence[Embedding]) -> Family:
    """The model with the rows of embedding files in their places; raises BadInput when a file does not fit."""
    device = fastest_device()
    family = load_family(model, device, torch.float16 if device.type == "cuda" else torch.float32)
    widths = {slot.name: slot.width for slot in family.slots}
    for embedding in embeddings:
        if embedding.token in family.placeholders.present:
            raise BadInput(f"two of the embedding files are called '{embedding.token}': draw them one at a time")
        family.placeholders.add(embedding.token, embedding.fit(widths))
    return family


def load_into_pipeline(pipeline: DiffusionPipeline, path: str | Path, token: str | None = None) -> str:
    """Load an embedding file into a diffusers pipeline; returns the token to write in prompts.

    Every text encoder gets its vectors. Sets each encoder's end-of-text id to its tokenizer's: encoders that carry
    `eos_token_id: 2` pool at the highest id, which would be the new token. Raises BadInput when the file does not fit
    the model.
    """
    embedding = read_embedding(path)
    token = token or embedding.token
    slots = text_slots(pipeline)
    vectors = embedding.fit({slot.name: slot.width for slot in slots})
    for slot in slots:
        set_end_of_text(slot)
        pipeline.load_textual_inversion(
            {token: vectors[slot.name]}, token=token, text_encoder=slot.encoder, tokenizer=slot.tokenizer
        )
    return token
