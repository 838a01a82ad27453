"""Stable Diffusion XL: two CLIP text encoders, a pooled vector and micro-conditioning (Podell et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .conditioning import Conditioning
from .latent_diffusion import LatentDiffusion
from .slots import CLIP_G, CLIP_L, SlotSpec


class StableDiffusionXL(LatentDiffusion):
    """The family of the models that `StableDiffusionXLPipeline` runs.

    The context is the last but one layer of each encoder, side by side; the pooled vector is clip_g's.
    """

    kinds = (
        replace(CLIP_L, layer=-2, normed=False),
        replace(CLIP_G, layer=-2, normed=False, pooled="text_embeds"),
    )
    checkpoint_prefix = "conditioner.embedders.1."

    @classmethod
    def architecture_of(cls, slots: Sequence[SlotSpec], prediction_type: str) -> str:
        return "stable-diffusion-xl-v1-base"

    def condition(self, texts: Sequence[Conditioning], captions: Sequence[str]) -> Conditioning:
        """Context (B, 77, 768) of clip_l and (B, 77, 1280) of clip_g -> (B, 77, 2048), and pooled (B, 1280)."""
        context = torch.cat([text.context for text in texts], dim=-1)  # (B, L, D)
        return Conditioning(context, texts[-1].pooled, texts[-1].mask)

    def added(self, text: Conditioning, sizes: Tensor) -> dict[str, Tensor]:
        """Pooled text and sizes: original height and width, top and left of the crop, its height and width."""
        assert text.pooled is not None
        return {"text_embeds": text.pooled.to(self.dtype), "time_ids": sizes.to(self.device, self.dtype)}

    def nothing(self, empty: Conditioning) -> Conditioning:
        """An empty negative prompt is zeros where the pipeline's config says so: as SDXL was trained."""
        if not self._pipeline.config.force_zeros_for_empty_prompt:
            return empty
        assert empty.pooled is not None
        return Conditioning(torch.zeros_like(empty.context), torch.zeros_like(empty.pooled))
