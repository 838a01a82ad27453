"""What the families with a U-Net and CLIP text encoders share (Rombach et al. 2022, "Latent Diffusion Models")."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..config.model import ModelConfig
from ..data.batches import upload
from ..errors import BadInput
from ..files.wording import flag
from ..method.schedules import TARGETS, VariancePreserving
from .base import FamilySpec
from .conditioning import Conditioning
from .frozen_pipeline import FrozenPipeline, autoencoder_facts
from .loading import changed_scheduler
from .parts import Parts
from .slots import SlotSpec, slot_specs

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


class LatentDiffusion(FrozenPipeline):
    """A family with a U-Net, without its text conditioning, which the subclasses add."""

    denoiser_part = "unet"

    @classmethod
    def spec_of(cls, parts: Parts, config: ModelConfig) -> FamilySpec:
        """What the configs say; raises BadInput for inpainting models and for other noise processes."""
        check_supported(parts, config)
        unet = parts["unet"].config
        pixels_per_latent, channels = autoencoder_facts(parts)
        slots = slot_specs(parts, cls.kinds, config.clip_skip)
        return FamilySpec(
            architecture=cls.architecture_of(slots, prediction_type(parts, config)),
            resolution=unet["sample_size"] * pixels_per_latent,
            pixels_per_latent=pixels_per_latent,
            latent_channels=channels,
            bucket_step=pixels_per_latent * 2 ** (len(unet["block_out_channels"]) - 1),
            slots=slots,
        )

    @classmethod
    @abstractmethod
    def architecture_of(cls, slots: Sequence[SlotSpec], prediction_type: str) -> str:
        """The name in ModelSpec."""

    def prepare_denoiser(self) -> None:
        super().prepare_denoiser()
        if self.config.lean_unet and self.device.type == "cpu":  # nobody has measured it on a GPU
            from .lean.blocks import make_lean

            make_lean(self.denoiser)
        if self.device.type == "cuda":
            to_channels_last(self.denoiser)

    def take_schedule(self, pipeline: DiffusionPipeline) -> VariancePreserving:
        """The schedule of training, with the user's prediction type and end; samplers get the same process."""
        override_scheduler(pipeline, self.config)
        return noise_schedule(pipeline)

    def sampler(self) -> Any:
        """DDIM (Song et al. 2021)."""
        from diffusers import DDIMScheduler

        return DDIMScheduler.from_config(self._pipeline.scheduler.config)

    def added(self, text: Conditioning, sizes: Tensor) -> dict[str, Tensor] | None:
        """What the U-Net is told beside the context."""
        return None

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, 4, h, w), (B,), context (B, L, D), sizes (B, 6) as in Batch -> (B, 4, h, w) float32."""
        prediction = self.denoiser(
            noisy.to(self.dtype),
            timesteps,
            text.context.to(self.dtype),
            encoder_attention_mask=None if text.mask is None else upload(text.mask, self.device),
            added_cond_kwargs=self.added(text, sizes),
        )
        return prediction.sample.float()


def to_channels_last(unet: Any) -> None:
    """Lay convolutions' weights out as cuDNN multiplies them; it would rearrange every picture otherwise."""
    unet.to(memory_format=torch.channels_last)


def prediction_type(parts: Parts, config: ModelConfig) -> str:
    """What the U-Net predicts: what the user says, else what the model does."""
    return config.prediction_type or parts["scheduler"].config["prediction_type"]


def check_supported(parts: Parts, config: ModelConfig) -> None:
    """Raises BadInput for models of a known pipeline class that are made for something else."""
    if config.flow_shift is not None:
        raise BadInput(f"{flag('flow_shift', config.flow_shift)} is for flows, and {config.model} is none")
    vae = parts["vae"].config
    scheduler = parts["scheduler"]
    channels = parts["unet"].config["in_channels"]
    latents = vae["latent_channels"]
    if channels != latents:
        raise BadInput(
            f"{flag('model', config.model)} wants {channels} channels and pictures have {latents} latent ones: it "
            "is made for "
            "inpainting or editing; train on the model that it was made from, the embedding works in both"
        )
    normalised = vae.get("latents_mean") is not None
    if normalised or "beta_schedule" not in scheduler.config:
        raise BadInput(
            f"{flag('model', config.model)} has another noise process ({scheduler.class_name}) than Stable "
            "Diffusion; there is no family for it yet"
        )
    predicted = prediction_type(parts, config)
    if predicted not in TARGETS:
        raise BadInput(f"{flag('model', config.model)} predicts '{predicted}'; known are {', '.join(TARGETS)}")


def override_scheduler(pipeline: DiffusionPipeline, config: ModelConfig) -> None:
    """Put what the user says about the noise process into the pipeline's scheduler."""
    overrides: dict[str, Any] = {}
    if config.prediction_type is not None:
        overrides["prediction_type"] = config.prediction_type
    if config.zero_terminal_snr is not None:
        overrides["rescale_betas_zero_snr"] = config.zero_terminal_snr
    if config.zero_terminal_snr:
        overrides["timestep_spacing"] = "trailing"  # Lin et al. 2023, section 3.3: sampling starts at the last timestep
    if overrides:
        pipeline.scheduler = changed_scheduler(pipeline.scheduler, overrides)


def noise_schedule(pipeline: DiffusionPipeline) -> VariancePreserving:
    """The schedule of training; samplers round it in their own ways, DDPM's is the definition."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    return VariancePreserving(scheduler.alphas_cumprod.float(), scheduler.config.prediction_type)
