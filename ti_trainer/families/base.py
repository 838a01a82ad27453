"""What a family of models offers to the trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ..data.latents import LatentPosterior
from ..method.placeholders import Placeholders
from ..method.schedules import Schedule
from .conditioning import Conditioning
from .slots import SlotSpec, TextSlot

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@dataclass(frozen=True)
class FamilySpec:
    """What is known of a model from its configs, before its weights are loaded."""

    architecture: str  # its name in ModelSpec
    resolution: int  # at which the model was trained, pixels
    pixels_per_latent: int
    latent_channels: int
    bucket_step: int  # what sides of pictures must be multiples of where they are no squares, pixels
    slots: tuple[SlotSpec, ...]


class Family(Protocol):
    """A frozen model of one family; a plain object and never an nn.Module, since it is not trained.

    Latents are (B, c, h, w) everywhere outside of a family; what a denoiser wants otherwise (packed patches, frames) is
    made in `predict` and `noise_for_pipeline`.
    """

    spec: FamilySpec
    pixels_per_latent: int  # as in `spec`: what data/ asks of whoever encodes pictures
    latent_channels: int  # as in `spec`
    slots: tuple[TextSlot, ...]
    placeholders: Placeholders  # of which every caption's tokens are read
    schedule: Schedule
    denoiser: nn.Module  # the U-Net or transformer
    loads_embeddings: bool  # whether its pipeline has `load_textual_inversion`
    device: torch.device
    dtype: torch.dtype  # of the frozen weights

    def bring_vae(self) -> nn.Module:
        """The VAE, in float32; it is loaded again where it was put away."""
        ...

    @property
    def vae_hash(self) -> str:
        """The hash of all weights of the VAE."""
        ...

    @property
    def models(self) -> tuple[nn.Module, ...]:
        """All that is in memory while rows are trained, the VAE not counted."""
        ...

    @property
    def fingerprint(self) -> str:
        """What tells this denoiser's weights from others'."""
        ...

    def encode_images(self, pixels: Tensor) -> LatentPosterior:
        """(B, 3, H, W) in [-1, 1] -> posterior of (B, c, h, w), float32."""
        ...

    def to_latents(self, sample: Tensor) -> Tensor:
        """A sample of the posterior, (B, c, h, w) -> the latents that the denoiser works on, of the same shape."""
        ...

    def encode_text(self, captions: Sequence[str], owners: Sequence[str] | None = None) -> Conditioning:
        """Captions with unexpanded tokens -> what `encode_prompt` of the family's pipeline gives.

        owners: the concept with whose rows each caption is read, or NOBODY; None: with everybody's.
        """
        ...

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, c, h, w), (B,), sizes (B, 6) as in Batch -> what the schedule calls the target, (B, c, h, w) float32."""
        ...

    def put_away_vae(self) -> None:
        """Give back the VAE's memory; it comes back by itself when it is needed."""
        ...

    def checkpoint_activations(self) -> None:
        """From now on compute the activations of the denoiser, and of large encoders, twice instead of keeping them."""
        ...

    def shadow(self, checkpointing: bool) -> Family:
        """The same on the `meta` device, where nothing is computed: predicts nothing but what memory it takes."""
        ...

    def pipeline(self) -> DiffusionPipeline:
        """The real diffusers pipeline, sharing these weights."""
        ...

    def sampler(self) -> Any:
        """A new diffusers scheduler with which the pipeline draws previews."""
        ...

    def prompt_arguments(
        self, prompts: Sequence[str], owner: str | None = None, negative: str = ""
    ) -> dict[str, Tensor]:
        """What the pipeline takes instead of prompts and of one negative prompt; owner: as in `encode_text`."""
        ...

    def noise_for_pipeline(self, noise: Tensor) -> Tensor:
        """Noise (B, c, h, w) as the pipeline takes it for its argument `latents`."""
        ...

    def draw(
        self,
        prompts: Sequence[str],
        noise: Tensor,
        steps: int,
        guidance: float,
        owner: str | None = None,
        negative: str = "",
        after_step: Callable[[], object] = lambda: None,
    ) -> list[Any]:
        """A picture for each prompt, from noise (B, c, h, w), by the diffusers pipeline from our own conditioning.

        after_step: called after each denoising step of all of them; owner: as in `encode_text`.
        """
        ...
