"""Stable Diffusion 3 and 3.5: two CLIP text encoders and a T5 in one context (Esser et al. 2024, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .conditioning import Conditioning
from .flow_transformer import FlowTransformer
from .parts import Parts
from .slots import CLIP_G, CLIP_L, T5_XXL

T5_LENGTH = 256  # tokens of its part of the context


class StableDiffusion3(FlowTransformer):
    """The family of the models that `StableDiffusion3Pipeline` runs, with T5 or without.

    The context is the last but one layer of each CLIP, side by side and widened with zeros, and T5's behind them; the
    pooled vector is that of both CLIPs. Where there is no T5, its part is zeros, as in training one time in two.
    """

    kinds = (
        replace(CLIP_L, layer=-2, normed=False, pooled="text_embeds"),
        replace(CLIP_G, layer=-2, normed=False, pooled="text_embeds"),
        replace(T5_XXL, length=T5_LENGTH),
    )
    architecture = "stable-diffusion-3"

    @staticmethod
    def resolution_of(parts: Parts, pixels_per_latent: int) -> int:
        """At which the model was trained, pixels."""
        return parts["transformer"].config["sample_size"] * pixels_per_latent

    def condition(self, texts: Sequence[Conditioning], captions: Sequence[str]) -> Conditioning:
        """Context (B, 77, 768), (B, 77, 1280) and T5's (B, 256, D) -> (B, 333, D), and pooled (B, 2048)."""
        clips = [text for text in texts if text.pooled is not None]
        width = self.denoiser.config.joint_attention_dim
        beside = torch.cat([text.context for text in clips], dim=-1)  # (B, 77, 2048)
        beside = F.pad(beside, (0, width - beside.shape[-1]))  # (B, 77, D)
        behind = [text.context for text in texts if text.pooled is None] or [
            beside.new_zeros(len(beside), T5_LENGTH, width)
        ]
        pooled = torch.cat([text.pooled for text in clips if text.pooled is not None], dim=-1)  # (B, P)
        return Conditioning(torch.cat([beside, *behind], dim=1), pooled)

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, 16, h, w), (B,), context (B, 333, D) -> the velocity, (B, 16, h, w) float32."""
        assert text.pooled is not None
        prediction = self.denoiser(
            noisy.to(self.dtype),
            timestep=timesteps,
            encoder_hidden_states=text.context.to(self.dtype),
            pooled_projections=text.pooled.to(self.dtype),
        )
        return prediction.sample.float()
