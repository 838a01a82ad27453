"""How a picture is shown in training: which part of it, at which size, mirrored or not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import BadInput
from ..files.wording import flag
from ..method.crops import CROPS, check_crop
from ..method.randomness import generator

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the upright picture


@dataclass(frozen=True)
class View:
    """A part of an upright picture, scaled to a size of the same proportions and perhaps mirrored."""

    box: Box
    size: tuple[int, int]  # width, height after scaling
    mirrored: bool = False

    def cut(self, image: Image.Image, resample: Image.Resampling = Image.Resampling.LANCZOS) -> Image.Image:
        """The part of the picture, or of its mask, that the view shows."""
        shown = image.resize(self.size, resample, self.box)
        return ImageOps.mirror(shown) if self.mirrored else shown

    def sizes(self, picture: tuple[int, int]) -> tuple[int, ...]:
        """SDXL's micro-conditioning (Podell et al. 2023, section 2.2): six numbers in pixels.

        They are height and width of the picture, top and left of the view in the scaled and perhaps mirrored picture,
        and height and width of the view. picture: width, height.
        """
        width, height = picture
        left, top, right, _ = self.box
        margin = width - right if self.mirrored else left
        scale = self.size[0] / (right - left)
        return height, width, round(top * scale), round(margin * scale), self.size[1], self.size[0]


@dataclass(frozen=True)
class Framing:
    """How a run shows its pictures."""

    resolution: int
    bucket_step: int | None = None  # the sides of buckets are multiples of it; None: every view is a square
    crop: str = "centre"  # a key of CROPS
    crops: int = 8  # how many views of each picture there are with random crops
    flip: bool = False  # each view is also shown mirrored
    alpha_color: str = "white"  # what transparent parts show
    seed: int = 0

    def __post_init__(self) -> None:
        check_crop(self.crop)
        if self.bucket_step and self.resolution % self.bucket_step:
            near = max(1, round(self.resolution / self.bucket_step)) * self.bucket_step
            raise BadInput(
                f"{flag('resolution')} is {self.resolution}, and {flag('buckets')} of this model want a multiple of "
                f"{self.bucket_step}, such as {near}"
            )

    def size(self, picture: tuple[int, int]) -> tuple[int, int]:
        """The width and height at which a picture of (width, height) is shown."""
        if not self.bucket_step:
            return self.resolution, self.resolution
        return nearest_bucket(picture, bucket_sizes(self.resolution, self.bucket_step))

    def views(self, picture: tuple[int, int], subject: Box | None, token: str, number: int) -> list[View]:
        """All views of picture `number` of a concept; with `flip`, each is followed by its mirror image.

        Every picture has equally many. Nothing is distorted: each view shows the largest part of the picture that has
        the proportions of `size(picture)`. picture: width, height; subject: the box of its mask.
        """
        size = self.size(picture)
        window = largest_window(picture, size)
        spans = (subject[::2], subject[1::2]) if subject else (None, None)
        views = []
        for view in range(self.crops if self.crop == "random" else 1):
            draws = generator(self.seed, "crop", token, number, view)
            left, top = (
                CROPS[self.crop](side, length, span, float(torch.rand((), generator=draws, dtype=torch.float64)))
                for side, length, span in zip(picture, window, spans, strict=True)
            )
            box = (left, top, min(left + window[0], picture[0]), min(top + window[1], picture[1]))
            views += [View(box, size, mirrored) for mirrored in (False, True)[: 1 + self.flip]]
        return views


def bucket_sizes(resolution: int, step: int) -> list[tuple[int, int]]:
    """Pairs of width and height in multiples of `step`, with at most and about resolution^2 pixels.

    For each side, the other side is the longest that the area allows (NovelAI's aspect ratio bucketing, 2022). No side
    is shorter than half the resolution, because models have seen hardly any narrower pictures.
    """
    pairs = [(side, resolution**2 // side // step * step) for side in range(step, 2 * resolution + 1, step)]
    return sorted({size for pair in pairs if min(pair) >= resolution / 2 for size in (pair, pair[::-1])})


def nearest_bucket(picture: tuple[int, int], sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """The size whose aspect ratio is nearest to the picture's, by its logarithm; of several, the largest."""

    def distance(size: tuple[int, int]) -> tuple[float, int]:
        return abs(math.log(size[0] / size[1]) - math.log(picture[0] / picture[1])), -size[0] * size[1]

    return min(sizes, key=distance)


def largest_window(picture: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    """Width and height of the largest part of a picture that has the proportions of `size`."""
    width, height = picture
    ratio = size[0] / size[1]
    if width / height == ratio:
        return width, height
    return (ratio * height, height) if width / height > ratio else (width, width / ratio)


def subject_box(mask: Image.Image) -> Box | None:
    """The box around everything in a mask ("L", 255 is the subject) that is lighter than 127; None if nothing is."""
    return mask.point(lambda value: 255 * (value > 127)).getbbox()


def mask_weights(mask: Image.Image, view: View, pixels_per_latent: int, background: float) -> Tensor:
    """The weight of each latent of a view in the loss, (1, h, w): 1 on the subject, `background` beside it.

    A latent that covers some of both has a weight between them, by the share of its area.
    """
    shown = torch.from_numpy(np.array(view.cut(mask, Image.Resampling.BOX)))[None] / 255  # (1, H, W)
    share = F.avg_pool2d(shown, pixels_per_latent)  # (1, h, w)
    return background + (1 - background) * share
