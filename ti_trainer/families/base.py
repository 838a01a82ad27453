"""What a family of models offers to the trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from ..data.latents import LatentPosterior
from ..method.placeholders import Placeholders
from ..method.schedules import VariancePreserving
from .slots import TextSlot

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@dataclass(frozen=True)
class Conditioning:
    """What the U-Net is told."""

    context: Tensor  # (B, L, D), L = 77 x windows
    pooled: Tensor | None = None  # (B, P)
    mask: Tensor | None = None  # (B, L) bool, True where the context counts; None: everywhere

    def __getitem__(self, index: Sequence[int]) -> Conditioning:
        pooled, mask = (None if part is None else pick_rows(part, index) for part in (self.pooled, self.mask))
        return Conditioning(pick_rows(self.context, index), pooled, mask)


def pick_rows(tensor: Tensor, index: Sequence[int]) -> Tensor:
    """`tensor[index]` whose gradient is summed in one order: that of indexing is a race between threads."""
    parts = tensor.unbind()
    return torch.stack([parts[i] for i in index])


class Family(Protocol):
    """A frozen model of one family; a plain object and never an nn.Module, since it is not trained."""

    slots: tuple[TextSlot, ...]
    placeholders: Placeholders  # of which every caption's tokens are read
    schedule: VariancePreserving
    scale: float  # of latents
    resolution: int  # at which the model was trained, pixels
    pixels_per_latent: int
    latent_channels: int
    bucket_step: int  # what sides of pictures must be multiples of where they are no squares, pixels
    device: torch.device
    dtype: torch.dtype  # of the frozen weights

    @property
    def unet(self) -> nn.Module: ...

    @property
    def vae(self) -> nn.Module: ...

    @property
    def architecture(self) -> str:
        """Its name in ModelSpec."""
        ...

    @property
    def encoder_layer(self) -> int:
        """Which layer of the text encoders is read, from the last: "clip skip" in WebUIs."""
        ...

    @property
    def fingerprint(self) -> str:
        """What tells this U-Net's weights from others'."""
        ...

    def encode_images(self, pixels: Tensor) -> LatentPosterior:
        """(B, 3, H, W) in [-1, 1] -> posterior of (B, c, h, w), float32."""
        ...

    @property
    def vae_hash(self) -> str:
        """The hash of all weights of the VAE."""
        ...

    def encode_text(self, captions: Sequence[str], owners: Sequence[str] | None = None) -> Conditioning:
        """Captions with unexpanded tokens -> what `encode_prompt` of the family's pipeline gives.

        owners: the concept with whose rows each caption is read; None: with everybody's.
        """
        ...

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, c, h, w), (B,), sizes (B, 6) as in Batch -> what the schedule calls the target, (B, c, h, w) float32."""
        ...

    def put_away_vae(self) -> None:
        """Give back its memory; it comes back by itself when it is needed."""
        ...

    def checkpoint_activations(self) -> None:
        """From now on compute the U-Net's activations twice instead of keeping them."""
        ...

    def shadow(self, checkpointing: bool) -> Family:
        """The same on the `meta` device, where nothing is computed: predicts nothing but what memory it takes."""
        ...

    def pipeline(self) -> DiffusionPipeline:
        """The real diffusers pipeline, sharing these weights."""
        ...
