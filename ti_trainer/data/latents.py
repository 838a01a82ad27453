"""Cached posteriors: the VAE runs once, augmentation stays possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .images import Picture, centre_square, read_image, to_pixels


@dataclass(frozen=True)
class LatentPosterior:
    """Mean and deviation of the VAE's Gaussian (Kingma & Welling 2014), each (B, c, h, w)."""

    mean: Tensor
    std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        return self.mean + self.std * noise

    def __getitem__(self, index: Tensor) -> LatentPosterior:
        return LatentPosterior(self.mean[index], self.std[index])


def cache_latents(
    pictures: Sequence[Picture],
    resolution: int,
    flip: bool,
    encode_images: Callable[[Tensor], LatentPosterior],
    progress: Callable[[Sequence[Picture]], Iterable[Picture]] = lambda pictures: pictures,
) -> LatentPosterior:
    """The posteriors of all pictures, (N, c, h, w); with `flip`, of all mirrored ones after them, (2N, c, h, w).

    A mirrored latent is not the latent of the mirrored picture, so both are encoded.
    """
    mirrored = (False, True) if flip else (False,)
    means, deviations = [], []
    for mirror in mirrored:
        for picture in progress(pictures):
            pixels = to_pixels(centre_square(read_image(picture), resolution))  # (3, size, size)
            posterior = encode_images(pixels.flip(-1)[None] if mirror else pixels[None])
            means.append(posterior.mean.float())
            deviations.append(posterior.std.float())
    return LatentPosterior(torch.cat(means), torch.cat(deviations))
