"""Cached posteriors: the VAE runs once for every view of a picture, augmentation stays possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

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


@dataclass(frozen=True)
class CachedView:
    """All that training needs to know of a view of a picture, on the CPU: there may be many."""

    posterior: LatentPosterior  # (c, h, w)
    sizes: tuple[int, ...]  # see View.sizes
    mask: Tensor | None = None  # (1, h, w): what each latent counts in the loss


class Encoder(Protocol):
    """What a family has of a VAE."""

    pixels_per_latent: int

    def encode_images(self, pixels: Tensor) -> LatentPosterior: ...


def cache_views(
    examples: Sequence[Example],
    token: str,
    framing: Framing,
    mask_background: float,
    encoder: Encoder,
    disk: LatentCache | None = None,
    progress: Callable[[Sequence[Example]], Iterable[Example]] = lambda examples: examples,
) -> list[list[CachedView]]:
    """The views of each of a concept's examples, as many for each; equal ones share their tensors."""
    cached = []
    for number, example in enumerate(progress(examples)):
        mask = read_mask(example) if mask_background < 1 or framing.crop == "subject" else None
        views = framing.views(example.size, subject_box(mask) if mask else None, token, number)
        posteriors = encode_views(example.picture, views, framing.alpha_color, encoder, disk)
        weights: dict[View, Tensor] = {}
        if mask and mask_background < 1:
            weights = {
                view: mask_weights(mask, view, encoder.pixels_per_latent, mask_background) for view in posteriors
            }
        cached.append([CachedView(posteriors[view], view.sizes(example.size), weights.get(view)) for view in views])
    return cached


def encode_views(
    picture: Picture, views: Iterable[View], alpha_color: str, encoder: Encoder, disk: LatentCache | None
) -> dict[View, LatentPosterior]:
    """The posterior of each distinct view, float32; the VAE sees what the disk does not have.

    A mirrored latent is not the latent of the mirrored picture, so both are encoded.
    """
    content = picture.read()  # once: what is hashed is what is encoded
    key = picture_hash(content, alpha_color)
    image, posteriors = None, {}
    for view in dict.fromkeys(views):
        found = disk.load(key, view) if disk else None
        if found is None:
            image = image or read_image(Picture(picture.name, lambda: content), alpha_color)
            posterior = encoder.encode_images(to_pixels(view.cut(image))[None])
            found = posterior.mean[0].float().cpu(), posterior.std[0].float().cpu()
            if disk:
                disk.store(key, view, *found)
        posteriors[view] = LatentPosterior(*found)
    return posteriors
