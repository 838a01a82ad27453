"""Stable Diffusion 1.x and 2.x: one CLIP text encoder (Rombach et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from .conditioning import Conditioning
from .latent_diffusion import LatentDiffusion
from .slots import CLIP_H, CLIP_L, SlotSpec

# text encoder and prediction type -> name in ModelSpec
ARCHITECTURES = {
    ("clip_l", "epsilon"): "stable-diffusion-v1",
    ("clip_l", "v_prediction"): "stable-diffusion-v1",
    ("clip_h", "epsilon"): "stable-diffusion-v2-512",
    ("clip_h", "v_prediction"): "stable-diffusion-v2-768-v",
}


class StableDiffusion(LatentDiffusion):
    """The family of the models that `StableDiffusionPipeline` runs.

    The context is the normed output of the last layer that is not skipped, (B, 77, D). SD 2.x wants the last but one of
    OpenCLIP's layers: its published encoder ends there.
    """

    kinds = (CLIP_L, CLIP_H)
    checkpoint_prefix = "cond_stage_model."

    @classmethod
    def architecture_of(cls, slots: Sequence[SlotSpec], prediction_type: str) -> str:
        return ARCHITECTURES[slots[0].kind.name, prediction_type]

    def condition(self, texts: Sequence[Conditioning], captions: Sequence[str]) -> Conditioning:
        """The only slot's, (B, 77, D)."""
        (text,) = texts
        return text
