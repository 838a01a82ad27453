"""What a family of models offers to the trainer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..data.latents import LatentPosterior
from ..placeholders import Placeholders
from ..schedules import NoiseSchedule

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class LoadOptions:
    """How the weights of a model are held."""

    device: torch.device
    dtype: torch.dtype
    clip_skip: int = 0
    revision: str | None = None


@dataclass(frozen=True)
class TextSlot:
    """A text encoder that has rows of its own."""

    name: str  # "clip_l", "clip_g"
    tokenizer: PreTrainedTokenizerBase
    encoder: PreTrainedModel

    @property
    def table(self) -> Tensor:
        """The vocabulary's embeddings, (V, D)."""
        return self.encoder.get_input_embeddings().weight


@dataclass(frozen=True)
class Conditioning:
    """What the U-Net is told."""

    context: Tensor  # (B, 77, D)
    pooled: Tensor | None = None  # (B, P)


def set_end_of_text(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a CLIP text encoder its tokenizer's end-of-text id.

    Published configs carry `eos_token_id: 2`; transformers then pools at the highest id, which is a placeholder's.
    """
    encoder.config.eos_token_id = tokenizer.eos_token_id
    encoder.eos_token_id = tokenizer.eos_token_id  # transformers 5 copies it when the encoder is built


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Without the libraries' bars and notes about parts that nobody here uses."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    levels = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
            library.enable_progress_bar()


class Family(Protocol):
    """A frozen model of one family; a plain object and never an nn.Module, since it is not trained."""

    architecture: str  # its name in ModelSpec
    slots: tuple[TextSlot, ...]
    schedule: NoiseSchedule
    scale: float  # of latents
    resolution: int  # at which the model was trained, pixels
    pixels_per_latent: int
    bucket_step: int  # what sides of pictures must be multiples of where they are no squares, pixels
    device: torch.device
    dtype: torch.dtype  # of the frozen weights

    @classmethod
    def load(cls, source: str, options: LoadOptions) -> Family: ...

    def install(self, placeholders: Placeholders) -> None:
        """Make the tokens known to the tokenizers and put the rows in their places, once."""
        ...

    def encode_images(self, pixels: Tensor) -> LatentPosterior:
        """(B, 3, H, W) in [-1, 1] -> posterior of (B, c, h, w)."""
        ...

    def vae_hash(self) -> str:
        """The hash of all weights of the VAE."""
        ...

    def encode_text(self, captions: Sequence[str]) -> Conditioning: ...

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, c, h, w), (B,), sizes (B, 6) as in Batch -> what the schedule calls the target, (B, c, h, w) float32."""
        ...

    def put_away_vae(self) -> None:
        """Move the VAE out of the way: training works on cached latents."""
        ...

    def pipeline(self) -> DiffusionPipeline:
        """The real diffusers pipeline, sharing these weights."""
        ...
