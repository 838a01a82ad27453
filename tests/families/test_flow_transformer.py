"""Shifts by scheduler config, patches and refusals that the families of flows share."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxPipeline

from tests.tiny_flows import unpack as unpack_one_by_one
from ti_trainer import BadInput, ModelConfig
from ti_trainer.families.flow_transformer import check_settings, pack, unpack


def test_patches_are_those_of_the_pipeline() -> None:
    latents = torch.randn(2, 16, 8, 12, generator=torch.Generator().manual_seed(0))
    packed = FluxPipeline._pack_latents(latents, 2, 16, 8, 12)
    assert torch.equal(pack(latents), packed)
    assert torch.equal(unpack(packed, 8), latents)
    square = latents[..., :8]
    assert torch.equal(unpack_one_by_one(pack(square)), square)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"prediction_type": "epsilon"}, "prediction_type is for Stable Diffusion 1"),
        ({"zero_terminal_snr": False}, "zero_terminal_snr is for Stable Diffusion 1"),
        ({"long_captions": "chunk"}, 'long_captions="chunk" is for text encoders with windows of 77'),
    ],
)
def test_settings_of_other_processes(setting: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_settings(ModelConfig(model="x/y", **setting), skippable=True)


def test_layers_are_skipped_only_where_some_are_read() -> None:
    config = ModelConfig(model="x/y", clip_skip=1)
    check_settings(config, skippable=True)
    with pytest.raises(BadInput, match="clip_skip is 1, and x/y reads no layers of CLIP"):
        check_settings(config, skippable=False)
