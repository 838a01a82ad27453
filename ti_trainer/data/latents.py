"""Cached posteriors: the VAE runs once for every view of a picture, when the view is first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from PIL import Image
from torch import Tensor

from .examples import Example
from .geometry import Framing, View, mask_weights, subject_box
from .images import ROOM, Picture, on_ground, open_picture, read_image, to_pixels
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
    """All that training needs to know of a view of a picture; on the CPU, because there may be many."""

    view: View
    sizes: tuple[int, ...]  # see View.sizes
    shape: tuple[int, int, int]  # c, h, w of its latents
    compute: Callable[[], LatentPosterior]  # what `encode` calls once
    mask: Tensor | None = None  # (1, h, w): the weight of each latent in the loss
    find_mask: Callable[[CachedView], Tensor] | None = None  # what `encode` then calls, where there is no mask
    _posterior: LatentPosterior | None = field(default=None, init=False, repr=False)

    def encode(self) -> LatentPosterior:
        """The posterior, (c, h, w) float32; only the first call reads the picture and runs the VAE.

        Raises BadInput or OSError where the picture cannot be read any more.
        """
        if self._posterior is None:
            self._posterior = self.compute()
        if self.mask is None and self.find_mask:
            find, self.find_mask = self.find_mask, None  # it looks at this view, which has no mask yet
            self.mask = find(self)
        return self._posterior

    @property
    def is_encoded(self) -> bool:
        return self._posterior is not None

    @property
    def posterior(self) -> LatentPosterior:
        """What `encode` found, (c, h, w) float32; raises RuntimeError before the first `encode`."""
        if self._posterior is None:
            raise RuntimeError("this view has no posterior yet: call encode() first")
        return self._posterior


class Encoder(Protocol):
    """What is needed of a family to encode pictures."""

    pixels_per_latent: int
    latent_channels: int

    def encode_images(self, pixels: Tensor) -> LatentPosterior: ...


class ViewEncoder:
    """Encodes views of pictures, and keeps the last picture, because the views of a picture follow one another.

    A mirrored latent is not the latent of the mirrored picture, so both are encoded.
    """

    def __init__(self, encoder: Encoder, alpha_color: str, disk: LatentCache | None = None) -> None:
        self.encoder = encoder
        self.alpha_color = alpha_color
        self.disk = disk
        self._picture: Picture | None = None
        self._content = b""  # read once, so that what is hashed is what is encoded
        self._image: Image.Image | None = None
        self._cut: dict[tuple[int, View], Image.Image] = {}  # by the picture's id

    def cut_ahead(self, picture: Picture, views: Iterable[View]) -> None:
        """Read a picture and cut its views out, so that only the VAE is left to be run; not where there is a cache.

        Another thread may do this before anybody else has the encoder. Raises BadInput as a call does.
        """
        if self.disk:
            return
        opened = open_picture(picture)
        with ROOM.take(opened.pixels):
            image = on_ground(opened.decode().image, self.alpha_color)
            self._cut |= {(id(picture), view): view.cut(image) for view in views}

    def __call__(self, picture: Picture, view: View) -> LatentPosterior:
        """The posterior of a view, (c, h, w) float32 on the CPU: from the cache on disk, else from the VAE."""
        cut = self._cut.pop((id(picture), view), None)
        if cut is not None:
            return LatentPosterior(*self.encode(cut))
        if picture is not self._picture:
            content = picture.read()
            self.forget()
            self._picture = picture
            self._content = content
        key = picture_hash(self._content, self.alpha_color) if self.disk else ""
        found = self.disk.load(key, view) if self.disk else None
        if found is None:
            content = self._content
            self._image = self._image or read_image(Picture(picture.name, lambda: content), self.alpha_color)
            found = self.encode(view.cut(self._image))
            if self.disk:
                self.disk.store(key, view, *found)
        return LatentPosterior(*found)

    def encode(self, cut: Image.Image) -> tuple[Tensor, Tensor]:
        """Mean and deviation of what a view shows."""
        posterior = self.encoder.encode_images(to_pixels(cut)[None])
        return posterior.mean[0].float().cpu(), posterior.std[0].float().cpu()

    def forget(self) -> None:
        """Free the memory of the last picture."""
        self._picture = None
        self._content = b""
        self._image = None


def views_of(
    examples: Sequence[Example], token: str, framing: Framing, mask_background: float, encode: ViewEncoder
) -> list[list[CachedView]]:
    """For each example of a concept its views, not encoded yet; all have equally many, and equal views are one object.

    encode: computes the posterior of a view, when it is first needed.
    """
    unit = encode.encoder.pixels_per_latent
    channels = encode.encoder.latent_channels
    shown = []
    for number, example in enumerate(examples):
        mask = read_mask(example) if mask_background < 1 or framing.crop == "subject" else None
        views = framing.views(example.size, subject_box(mask) if mask else None, token, number)
        cached = {
            view: CachedView(
                view,
                sizes=view.sizes(example.size),
                shape=(channels, view.size[1] // unit, view.size[0] // unit),
                compute=partial(encode, example.picture, view),
                mask=mask_weights(mask, view, unit, mask_background) if mask and mask_background < 1 else None,
            )
            for view in dict.fromkeys(views)
        }
        shown.append([cached[view] for view in views])
    return shown
