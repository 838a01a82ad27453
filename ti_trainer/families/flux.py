"""Flux.1 and Chroma: a T5 is the context, and the transformer reads latents in patches (Black Forest Labs 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config.model import ModelConfig
from ..errors import BadInput
from ..files.wording import flag
from .base import FamilySpec
from .conditioning import Conditioning, pick_rows
from .flow_transformer import PATCH, FlowTransformer, pack, unpack
from .parts import Parts
from .slots import CLIP_L, T5_XXL

GUIDANCE = 1.0  # what a model with a guidance embedding is told in training: pictures as they are, not exaggerated


class PackedFlow(FlowTransformer):
    """What Flux.1 and Chroma share: patches of latents, and where text and patches are."""

    def told(self, text: Conditioning) -> Mapping[str, Any]:
        """What the transformer is told beside context, timesteps and places."""
        return {}

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, 16, h, w), (B,), context (B, 512, D) -> the velocity, (B, 16, h, w) float32."""
        _, _, height, width = noisy.shape
        prediction = self.denoiser(
            hidden_states=pack(noisy.to(self.dtype)),
            timestep=self.levels(timesteps),
            encoder_hidden_states=text.context.to(self.dtype),
            txt_ids=noisy.new_zeros(text.context.shape[1], 3),
            img_ids=places(height // PATCH, width // PATCH, noisy),
            **self.told(text),
        )
        return unpack(prediction.sample, height).float()

    def noise_for_pipeline(self, noise: Tensor) -> Tensor:
        """Packed: (B, N, 64)."""
        return pack(noise)


class Flux(PackedFlow):
    """The family of the models that `FluxPipeline` runs, schnell excepted.

    The context is T5's; of CLIP the transformer is told the pooled vector alone. A model that was distilled from
    guidance is told GUIDANCE, as sd-scripts and OneTrainer do.
    """

    kinds = (replace(CLIP_L, pooled="pooler_output", skippable=False), T5_XXL)
    architecture = "flux-1-dev"

    @classmethod
    def spec_of(cls, parts: Parts, config: ModelConfig) -> FamilySpec:
        """What the configs say; raises BadInput for schnell."""
        guided = parts["transformer"].config.get("guidance_embeds")
        if not guided and not parts["scheduler"].config.get("use_dynamic_shifting"):
            raise BadInput(
                f"{flag('model', config.model)} is distilled to draw in four steps (schnell), and its velocity is not "
                "that of noise and pictures: train on Flux.1 dev, the embedding works in both"
            )
        return super().spec_of(parts, config)

    def condition(self, texts: Sequence[Conditioning], captions: Sequence[str]) -> Conditioning:
        """Pooled (B, 768) of clip_l and context (B, 512, 4096) of T5."""
        clip, t5 = texts
        return Conditioning(t5.context, clip.pooled)

    def told(self, text: Conditioning) -> Mapping[str, Any]:
        """The pooled vector (B, 768), and the guidance (B,) where the model wants one."""
        assert text.pooled is not None
        guided = self.denoiser.config.guidance_embeds
        guidance = torch.full((len(text.pooled),), GUIDANCE, device=self.device) if guided else None
        return {"pooled_projections": text.pooled.to(self.dtype), "guidance": guidance}


class Chroma(PackedFlow):
    """The family of the models that `ChromaPipeline` runs.

    The context is T5's, which is told where the padding is; the transformer sees the text and one token of padding.
    """

    kinds = (replace(T5_XXL, masked=True),)
    architecture = "chroma"

    def condition(self, texts: Sequence[Conditioning], captions: Sequence[str]) -> Conditioning:
        """Context (B, 512, 4096) of T5, and a mask of the text and one token more."""
        (text,) = texts
        assert text.mask is not None
        return Conditioning(text.context, None, text.mask | F.pad(text.mask, (1, 0), value=True)[:, :-1])

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, 16, h, w), (B,), context (B, 512, D) -> the velocity, (B, 16, h, w) float32.

        Text has no places, so what the mask leaves out is cut off, and examples are grouped by what is left: diffusers'
        transformer would lose the mask where activations are checkpointed.
        """
        groups: dict[int, list[int]] = {}
        for number, length in enumerate(lengths(text)):
            groups.setdefault(length, []).append(number)
        parts = [
            super(Chroma, self).predict(
                noisy[rows], timesteps[rows], Conditioning(pick_rows(text.context, rows)[:, :length]), sizes[rows]
            )
            for length, rows in groups.items()
        ]
        order = [number for rows in groups.values() for number in rows]
        return pick_rows(torch.cat(parts), [order.index(number) for number in range(len(order))])

    def name_arguments(self, prompts: Conditioning, negative: Conditioning) -> dict[str, Tensor]:
        """With the masks of both."""
        masks = {"prompt_attention_mask": prompts.mask, "negative_prompt_attention_mask": negative.mask}
        known = {name: mask.to(self.device) for name, mask in masks.items() if mask is not None}
        return {**super().name_arguments(prompts, negative), **known}


def lengths(text: Conditioning) -> list[int]:
    """How many tokens of each context (B, L, D) count."""
    return [text.context.shape[1]] * len(text.context) if text.mask is None else text.mask.sum(1).tolist()


def places(rows: int, columns: int, like: Tensor) -> Tensor:
    """Where each patch is: 0, row and column, (rows columns, 3)."""
    row, column = torch.meshgrid(
        torch.arange(rows, device=like.device), torch.arange(columns, device=like.device), indexing="ij"
    )
    return torch.stack([torch.zeros_like(row), row, column], dim=-1).flatten(0, 1).to(like.dtype)
