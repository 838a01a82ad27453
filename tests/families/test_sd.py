"""Stable Diffusion 1.x and 2.x: the names of its models, and the layer of their text encoder that is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ti_trainer import ModelConfig
from ti_trainer.families import load_family

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("kind", "prediction_type", "architecture"),
    [
        ("sd1", None, "stable-diffusion-v1"),
        ("sd1", "v_prediction", "stable-diffusion-v1"),
        ("sd2-eps", None, "stable-diffusion-v2-512"),
        ("sd2-v", None, "stable-diffusion-v2-768-v"),
        ("sd2-eps", "v_prediction", "stable-diffusion-v2-768-v"),
        ("sd2-v", "epsilon", "stable-diffusion-v2-512"),
    ],
)
def test_names_in_modelspec(
    tiny_models: dict[str, Path], kind: str, prediction_type: str | None, architecture: str
) -> None:
    config = ModelConfig(model=str(tiny_models[kind]), prediction_type=prediction_type)
    assert load_family(config, CPU, torch.float32).spec.architecture == architecture


@pytest.mark.parametrize(("kind", "layer"), [("sd1", 1), ("sd2-eps", 2)])
@pytest.mark.parametrize("clip_skip", [0, 1])
def test_layer_that_is_read(tiny_models: dict[str, Path], kind: str, layer: int, clip_skip: int) -> None:
    """Normed, of the encoder itself; counted from the end of the original model, of which SD 2.x has one layer less."""
    family = load_family(ModelConfig(model=str(tiny_models[kind]), clip_skip=clip_skip), CPU, torch.float32)
    assert family.spec.slots[0].encoder_layer == layer + clip_skip
    (slot,) = family.slots
    captions = ["a photo of the red cat", "a dog"]
    ids = slot.tokenizer(captions, padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        hidden = slot.encoder(ids, output_hidden_states=True).hidden_states
        wanted = slot.encoder.final_layer_norm(hidden[-1 - clip_skip])
        other = slot.encoder.final_layer_norm(hidden[-2 + clip_skip])
        found = family.encode_text(captions)
    torch.testing.assert_close(found.context, wanted)
    assert (found.context - other).abs().max() > 1e-2
    assert found.pooled is None
