"""Stable Diffusion 1.x and 2.x: one CLIP text encoder (Rombach et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .base import Conditioning
from .latent_diffusion import LatentDiffusion

if TYPE_CHECKING:
    from transformers.modeling_outputs import BaseModelOutput

# text encoder and prediction type -> name in ModelSpec
ARCHITECTURES = {
    ("clip_l", "epsilon"): "stable-diffusion-v1",
    ("clip_l", "v_prediction"): "stable-diffusion-v1",
    ("clip_h", "epsilon"): "stable-diffusion-v2-512",
    ("clip_h", "v_prediction"): "stable-diffusion-v2-768-v",
}


class StableDiffusion(LatentDiffusion):
    """The family of the models that `StableDiffusionPipeline` runs."""

    @property
    def architecture(self) -> str:
        return ARCHITECTURES[self.slots[0].name, self.schedule.prediction_type]

    @property
    def encoder_layer(self) -> int:
        return (2 if self.slots[0].name == "clip_h" else 1) + self.config.clip_skip

    def condition(self, outputs: Sequence[BaseModelOutput]) -> Conditioning:
        """The normed output of the last layer that is not skipped, (N, 77, D).

        SD 2.x wants the last but one of OpenCLIP's layers: its published encoder has only those.
        """
        (output,) = outputs
        if not self.config.clip_skip:
            return Conditioning(output.last_hidden_state)
        normed = self.slots[0].encoder.final_layer_norm(output.hidden_states[-1 - self.config.clip_skip])
        return Conditioning(normed)
