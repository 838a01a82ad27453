"""Cached posteriors: the VAE runs once for every view of a picture, when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

from PIL import Image
from torch import Tensor

from .examples import Example
from .geometry import Framing, View, mask_weights, subject_box
from .images import Picture, read_image, to_pixels
from .latent_cache import LatentCache, picture_hash
from .masks import read_mask


@dataclass(frozen=True)
class LatentPosterior:
    """Mean and deviation of the VAE's Gaussian (Kingma & Welling 2014), each (..., c, h, w)."""

    mean: Tensor
    std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        return self.mean + self.std * noise


@dataclass(eq=False)
class CachedView:
    """All that training needs to know of a view of a picture, on the CPU: there may be many."""

    sizes: tuple[int, ...]  # see View.sizes
    shape: tuple[int, int, int]  # c, h, w of its latents
    encode: Callable[[], LatentPosterior]  # called when the posterior is first asked for
    mask: Tensor | None = None  # (1, h, w): what each latent counts in the loss

    @cached_property
    def posterior(self) -> LatentPosterior:
        """(c, h, w), float32."""
        return self.encode()

    @property
    def is_encoded(self) -> bool:
        return "posterior" in vars(self)


class Encoder(Protocol):
    """What a family has of a VAE."""

    pixels_per_latent: int
    latent_channels: int

    def encode_images(self, pixels: Tensor) -> LatentPosterior: ...


class ViewEncoder:
    """Encodes views of pictures. It remembers the last picture, because a picture's views come one after the other.

    A mirrored latent is not the latent of the mirrored picture, so both are encoded.
    """

    def __init__(self, encoder: Encoder, alpha_color: str, disk: LatentCache | None = None) -> None:
        self.encoder, self.alpha_color, self.disk = encoder, alpha_color, disk
        self._picture: Picture | None = None
        self._content = b""  # read once: what is hashed is what is encoded
        self._image: Image.Image | None = None

    def __call__(self, picture: Picture, view: View) -> LatentPosterior:
        """The posterior of a view, float32 on the CPU; the VAE sees what the disk does not have."""
        if picture is not self._picture:
            self._picture, self._content, self._image = picture, picture.read(), None
        key = picture_hash(self._content, self.alpha_color) if self.disk else ""
        found = self.disk.load(key, view) if self.disk else None
        if found is None:
            content = self._content
            self._image = self._image or read_image(Picture(picture.name, lambda: content), self.alpha_color)
            posterior = self.encoder.encode_images(to_pixels(view.cut(self._image))[None])
            found = posterior.mean[0].float().cpu(), posterior.std[0].float().cpu()
            if self.disk:
                self.disk.store(key, view, *found)
        return LatentPosterior(*found)

    def forget(self) -> None:
        """Give back the last picture's memory."""
        self._picture, self._content, self._image = None, b"", None


def views_of(
    examples: Sequence[Example], token: str, framing: Framing, mask_background: float, encode: ViewEncoder
) -> list[list[CachedView]]:
    """The views of each of a concept's examples, as many for each, still to be encoded; equal ones are one object."""
    unit, channels = encode.encoder.pixels_per_latent, encode.encoder.latent_channels
    shown = []
    for number, example in enumerate(examples):
        mask = read_mask(example) if mask_background < 1 or framing.crop == "subject" else None
        views = framing.views(example.size, subject_box(mask) if mask else None, token, number)
        cached = {
            view: CachedView(
                sizes=view.sizes(example.size),
                shape=(channels, view.size[1] // unit, view.size[0] // unit),
                encode=partial(encode, example.picture, view),
                mask=mask_weights(mask, view, unit, mask_background) if mask and mask_background < 1 else None,
            )
            for view in dict.fromkeys(views)
        }
        shown.append([cached[view] for view in views])
    return shown
