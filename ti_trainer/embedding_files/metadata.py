"""What an embedding file says about itself (ModelSpec 1.0.1, and our own keys)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def embedding_metadata(
    *,
    token: str,
    num_vectors: int,
    step: int,
    architecture: str,
    resolution: int,
    prediction_type: str,
    clip_skip: int,
    version: str,
    config: Mapping[str, Any],
) -> dict[str, str]:
    """All values are strings, as safetensors wants them; no date, so that a rerun writes the same bytes."""
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{architecture}/textual-inversion",
        "modelspec.implementation": "diffusers",
        "modelspec.title": token.strip("<>"),
        "modelspec.resolution": f"{resolution}x{resolution}",
        "modelspec.trigger_phrase": token,
        "modelspec.usage_hint": f"write {token.strip('<>')} (WebUIs) or {token} (diffusers) in the prompt",
        "modelspec.prediction_type": {"v_prediction": "v"}.get(prediction_type, prediction_type),
        "modelspec.encoder_layer": str(clip_skip + 1),
        "ti_trainer.version": version,
        "ti_trainer.token": token,
        "ti_trainer.vectors": str(num_vectors),
        "ti_trainer.step": str(step),
        "ti_trainer.config": json.dumps(config, sort_keys=True),
    }
