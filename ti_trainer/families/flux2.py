"""Flux.2 Klein: Qwen 3 reads a chat, and latents are normed in patches (Black Forest Labs 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..config.model import ModelConfig
from ..errors import BadInput
from ..files.wording import flag
from ..method.shifts import Shift, by_tokens, empirical_mu
from .base import FamilySpec
from .conditioning import Conditioning
from .flow_transformer import PATCH, FlowTransformer, pack, unpack
from .parts import Parts
from .slots import QWEN3

STEPS = 50  # in which the base models draw pictures; the shift depends on them
QWEN3_4B = replace(QWEN3, layers=(9, 18, 27), chats=True, inside="model")


class Flux2Klein(FlowTransformer):
    """The family of the base models that `Flux2KleinPipeline` runs, of 4 and 9 billion weights.

    The context is three layers of Qwen 3, side by side, of all 512 tokens: the padding too, which only Qwen is told of.
    """

    kinds = (replace(QWEN3_4B, name="qwen3_8b", marks={"hidden_size": 4096}), QWEN3_4B)
    architecture = "flux-2-klein"

    @classmethod
    def spec_of(cls, parts: Parts, config: ModelConfig) -> FamilySpec:
        """What the configs say; raises BadInput for a distilled model."""
        if parts.settings.get("is_distilled"):
            raise BadInput(
                f"{flag('model', config.model)} is distilled to draw in four steps, and its velocity is not that of "
                "noise and pictures: train on the base model, the embedding works in both"
            )
        spec = super().spec_of(parts, config)
        size = "9b" if spec.slots[0].kind.name == "qwen3_8b" else "4b"
        return replace(spec, architecture=f"{cls.architecture}-{size}")

    def shift_of(self, scheduler: Mapping[str, Any]) -> Shift:
        """What was found for STEPS of them."""
        return by_tokens(empirical_mu(STEPS), PATCH)

    def to_latents(self, sample: Tensor) -> Tensor:
        """Each channel of patches normed with the mean and deviation that the VAE was trained to, (B, c, h, w)."""
        return unpack(super().to_latents(pack(sample)), sample.shape[2])

    @staticmethod
    def latent_statistics(vae: Any) -> tuple[Tensor, Tensor]:
        """Of each channel of a patch, (4 c,) each."""
        return vae.bn.running_mean.float(), (vae.bn.running_var.float() + vae.config.batch_norm_eps).sqrt()

    def condition(self, texts: Sequence[Conditioning], captions: Sequence[str]) -> Conditioning:
        """Context (B, 512, 3 D) of Qwen."""
        (text,) = texts
        return Conditioning(text.context)

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, 32, h, w), (B,), context (B, 512, 3 D) -> the velocity, (B, 32, h, w) float32."""
        _, _, height, width = noisy.shape
        prediction = self.denoiser(
            hidden_states=pack(noisy.to(self.dtype)),
            timestep=self.levels(timesteps),
            encoder_hidden_states=text.context.to(self.dtype),
            txt_ids=places(1, 1, text.context.shape[1], noisy.device),
            img_ids=places(height // PATCH, width // PATCH, 1, noisy.device),
        )
        return unpack(prediction.sample, height).float()

    def name_arguments(self, prompts: Conditioning, negative: Conditioning) -> dict[str, Tensor]:
        return {"prompt_embeds": prompts.context, "negative_prompt_embeds": negative.context}

    def noise_for_pipeline(self, noise: Tensor) -> Tensor:
        """In patches that are not in rows yet: (B, 128, h/2, w/2)."""
        height, width = (side // PATCH for side in noise.shape[2:])
        return pack(noise).transpose(1, 2).unflatten(2, (height, width))


def places(rows: int, columns: int, tokens: int, device: torch.device) -> Tensor:
    """Where each patch or token is: 0, row, column and its number in the text, (rows columns tokens, 4)."""
    axes = [torch.arange(count, device=device) for count in (1, rows, columns, tokens)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 3)
