"""The model families, one row each; what a model is, is read from its own configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..bundled import resolve
from ..embedding_files import read_embedding
from ..errors import BadInput
from .base import Conditioning, Family, LoadOptions, TextSlot, set_end_of_text
from .sd import StableDiffusion

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# pipeline class in model_index.json -> family; SD 2.x and SDXL get a row each
FAMILIES: dict[str, type[Family]] = {"StableDiffusionPipeline": StableDiffusion}

__all__ = ["FAMILIES", "Conditioning", "Family", "LoadOptions", "TextSlot", "load_family", "load_into_pipeline"]


def load_family(model: str, options: LoadOptions) -> Family:
    """The family of a diffusers folder, a bundled model's name or a hub id, with its weights frozen.

    Raises BadInput when there is no such model, or when no family fits it.
    """
    source = resolve(model)
    index = model_index(source, options.revision)
    name = index.get("_class_name")
    if name not in FAMILIES:
        raise BadInput(f"--model {model} is a {name}; known are {', '.join(FAMILIES)}")
    return FAMILIES[name].load(source, options)


def model_index(source: str, revision: str | None) -> dict[str, str]:
    """The contents of model_index.json; downloads it when `source` is a hub id."""
    folder = Path(source)
    if folder.is_dir():
        path = folder / "model_index.json"
        if not path.is_file():
            raise BadInput(f"--model {source} is no diffusers folder: model_index.json is missing")
    elif folder.exists() or source.count("/") != 1 or source.startswith((".", "/")):
        raise BadInput(f"--model {source} does not exist; give a diffusers folder or a hub id such as owner/name")
    else:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            path = Path(hf_hub_download(source, "model_index.json", revision=revision))
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise BadInput(f"--model {source} is no folder here, and the hub did not give it: {reason}") from None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise BadInput(f"{path} is not JSON: the model folder is damaged") from None


def load_into_pipeline(pipeline: DiffusionPipeline, path: str | Path, token: str | None = None) -> str:
    """Load an embedding file into a diffusers pipeline; returns the token to write in prompts.

    Sets the text encoder's end-of-text id to its tokenizer's: encoders that carry `eos_token_id: 2` pool at the highest
    id, which would be the new token. Raises BadInput when the file does not fit the model.
    """
    embedding = read_embedding(path)
    token = token or embedding.token
    width = pipeline.text_encoder.get_input_embeddings().weight.shape[1]
    (vectors,) = embedding.fit({"clip_l": width}).values()
    set_end_of_text(pipeline.text_encoder, pipeline.tokenizer)
    pipeline.load_textual_inversion({token: vectors.to(torch.float32)}, token=token)
    return token
