"""Stable Diffusion XL: two CLIP text encoders, a pooled vector and micro-conditioning (Podell et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .base import Conditioning
from .latent_diffusion import LatentDiffusion

if TYPE_CHECKING:
    from transformers.modeling_outputs import BaseModelOutput


class StableDiffusionXL(LatentDiffusion):
    """The family of the models that `StableDiffusionXLPipeline` runs."""

    architecture = "stable-diffusion-xl-v1-base"

    @property
    def encoder_layer(self) -> int:
        return 2 + self.config.clip_skip

    def condition(self, outputs: Sequence[BaseModelOutput]) -> Conditioning:
        """The last but one layer of each encoder side by side, (N, 77, 768 + 1280), and clip_g's pooled (N, 1280)."""
        layer = -2 - self.config.clip_skip
        context = torch.cat([output.hidden_states[layer] for output in outputs], dim=-1)  # (N, 77, D)
        return Conditioning(context, outputs[-1].text_embeds)

    def added(self, text: Conditioning, sizes: Tensor) -> dict[str, Tensor]:
        """Pooled text and sizes: original height and width, top and left of the crop, its height and width."""
        assert text.pooled is not None
        return {"text_embeds": text.pooled.to(self.dtype), "time_ids": sizes.to(self.device, self.dtype)}
