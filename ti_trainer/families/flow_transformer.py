"""What the families share whose transformer predicts the velocity of a flow (Esser et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ..config.model import ModelConfig
from ..errors import BadInput
from ..files.wording import flag
from ..method.schedules import FlowMatching
from ..method.shifts import Shift, by_tokens, fixed, linear_mu
from .base import FamilySpec
from .frozen_pipeline import FrozenPipeline, autoencoder_facts
from .parts import Parts
from .slots import slot_specs

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

PATCH = 2  # latents on a side of what a transformer reads as one token: all published ones have it


class FlowTransformer(FrozenPipeline):
    """A family with a transformer for a flow, without its text conditioning, which the subclasses add."""

    denoiser_part = "transformer"
    architecture: ClassVar[str]  # the name in ModelSpec
    schedule: FlowMatching

    @classmethod
    def spec_of(cls, parts: Parts, config: ModelConfig) -> FamilySpec:
        """What the configs say; raises BadInput for settings of other noise processes."""
        check_settings(config, any(kind.skippable for kind in cls.kinds))
        pixels_per_latent, channels = cls.autoencoder_facts(parts)
        return FamilySpec(
            architecture=cls.architecture,
            resolution=cls.resolution_of(parts, pixels_per_latent),
            pixels_per_latent=pixels_per_latent,
            latent_channels=channels,
            bucket_step=pixels_per_latent * PATCH,
            slots=slot_specs(parts, cls.kinds, config.clip_skip),
        )

    @staticmethod
    def resolution_of(parts: Parts, pixels_per_latent: int) -> int:
        """At which the model was trained, pixels: what its VAE is said to be for, where a config says anything."""
        return parts["vae"].config.get("sample_size", 1024)

    @staticmethod
    def autoencoder_facts(parts: Parts) -> tuple[int, int]:
        """Pixels per latent, and channels of latents."""
        return autoencoder_facts(parts)

    def take_schedule(self, pipeline: DiffusionPipeline) -> FlowMatching:
        """The flow with the user's shift, or with that of the pipeline's scheduler."""
        scheduler = pipeline.scheduler.config
        own = self.config.flow_shift
        return FlowMatching(self.shift_of(scheduler) if own is None else fixed(own), scheduler["num_train_timesteps"])

    def shift_of(self, scheduler: Mapping[str, Any]) -> Shift:
        """How the sampler's noise levels are shifted; a straight line in tokens where they depend on the size."""
        if not scheduler["use_dynamic_shifting"]:
            return fixed(scheduler["shift"])
        low = (scheduler["base_image_seq_len"], scheduler["base_shift"])
        high = (scheduler["max_image_seq_len"], scheduler["max_shift"])
        return by_tokens(linear_mu(low, high), PATCH)

    def levels(self, timesteps: Tensor) -> Tensor:
        """Timesteps as most of these transformers take them: noise levels in [0, 1], (B,)."""
        return (timesteps / self.schedule.steps).to(self.dtype)

    def sampler(self) -> Any:
        """Euler's method, as the pipelines have it."""
        from diffusers import FlowMatchEulerDiscreteScheduler

        return FlowMatchEulerDiscreteScheduler.from_config(self._pipeline.scheduler.config)


def check_settings(config: ModelConfig, skippable: bool) -> None:
    """Raises BadInput for settings that flows do not know; skippable: whether an encoder's layers may be skipped."""
    for name in ("prediction_type", "zero_terminal_snr"):
        if getattr(config, name) is not None:
            raise BadInput(f"{flag(name)} is for Stable Diffusion 1.x, 2.x and XL; {config.model} is a flow")
    if config.long_captions != "truncate":
        raise BadInput(
            f"{flag('long_captions', config.long_captions)} is for text encoders with windows of 77 tokens, and of "
            f"{config.model} at least one has another"
        )
    if config.clip_skip and not skippable:
        raise BadInput(f"{flag('clip_skip')} is {config.clip_skip}, and {config.model} reads no layers of CLIP")


def pack(latents: Tensor) -> Tensor:
    """Latents (B, c, h, w) -> patches in rows, (B, h/2 w/2, 4 c), as transformers of Flux's kind read them."""
    patches = latents.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))  # (B, c, h/2, 2, w/2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack(patches: Tensor, height: int) -> Tensor:
    """The inverse of `pack`; height: h of the latents."""
    rows = patches.unflatten(2, (-1, PATCH, PATCH)).unflatten(1, (height // PATCH, -1))  # (B, h/2, w/2, c, 2, 2)
    return rows.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
