"""What an embedding file says about itself (ModelSpec 1.0.1, and our own keys)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

NEGATIVE = "modelspec.is_negative_embedding"  # the entry that says "true" of embeddings for the negative prompt
CHECKPOINT_INFO = "info"  # the entry of a checkpoint that holds the state of its run
CHECKPOINT_HASH = "sha256"  # and the one with the hash of all that it holds


def prompt_for(negative: bool) -> str:
    """The prompt in which an embedding belongs, in words."""
    return "negative prompt" if negative else "prompt"


def naming(token: str, negative: bool = False) -> dict[str, str]:
    """The entries that contain the token; they are written anew when an embedding gets another token."""
    stem = token.strip("<>")
    return {
        "modelspec.title": stem,
        "modelspec.trigger_phrase": token,
        "modelspec.usage_hint": f"write {stem} (WebUIs) or {token} (diffusers) in the {prompt_for(negative)}",
        "ti_trainer.token": token,
    }


def embedding_metadata(
    *,
    token: str,
    num_vectors: int,
    step: int,
    architecture: str,
    resolution: int,
    prediction_type: str,
    encoder_layer: int,
    version: str,
    config: Mapping[str, Any],
    negative: bool = False,
    init: str | None = None,
    seed: int | None = None,
    base_model: str | None = None,
    base_model_hash: str | None = None,
    data_hash: str | None = None,
    text: str | None = None,
    sharing: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The metadata of a trained embedding.

    All values are strings, because safetensors allows nothing else. There is no date, so that running again writes the
    same bytes. Entries that are None are left out; base_model is a name and not a path; text: what
    the rows stand for, where they were learned from a text; sharing: further names of ModelSpec, such as "author", and
    what their maker says.
    """
    known = {
        "ti_trainer.init": init,
        "ti_trainer.seed": seed,
        "ti_trainer.base_model": base_model,
        "ti_trainer.base_model_hash": base_model_hash,
        "ti_trainer.data_hash": data_hash,
        "ti_trainer.text": text,
    }
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{architecture}/textual-inversion",
        "modelspec.implementation": "diffusers",
        "modelspec.resolution": f"{resolution}x{resolution}",
        "modelspec.prediction_type": {"v_prediction": "v"}.get(prediction_type, prediction_type),
        "modelspec.encoder_layer": str(encoder_layer),
        NEGATIVE: str(negative).lower(),
        "ti_trainer.version": version,
        "ti_trainer.vectors": str(num_vectors),
        "ti_trainer.step": str(step),
        "ti_trainer.config": json.dumps(config, sort_keys=True),
        **{f"modelspec.{name}": said for name, said in (sharing or {}).items()},
        **naming(token, negative),
        **{key: str(value) for key, value in known.items() if value is not None},
    }
