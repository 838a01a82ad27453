"""The fixed-noise loss, which tells convergence where the training loss tells nothing.

Voronov et al. 2023, "Is This Loss Informative?" (DVAR, arXiv 2302.04841): the same pictures, captions, noise and
timesteps at every measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from ..data.batches import ConceptData, Draw, same_shape, stack_draws
from ..families import Family
from ..method.randomness import generator
from ..method.timesteps import TimestepPolicy
from ..method.tokens import fill
from ..method.weightings import uniform
from .objective import denoising_losses

EVERYWHERE = TimestepPolicy()
Key = TypeVar("Key", bound=Hashable)


def fixed_draw(data: ConceptData, seed: int, index: int, samples: int, timesteps: TimestepPolicy = EVERYWHERE) -> Draw:
    """Example `index` of a concept's `samples` fixed ones: the first view of its own pictures in turn.

    It lies at the middle of the index-th of `samples` equal parts of the timesteps that are trained at all, so that
    every picture sees all noise levels. Latents are the posterior means.
    """
    number = data.own[index % len(data.own)]
    example = data.examples[number]

    def noises(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        noise = torch.randn(shape, generator=generator(seed, "validation", data.token, index))
        return torch.zeros(shape), noise

    where = float(timesteps.within_support(torch.tensor([(index + 0.5) / samples])))
    caption = fill(example.captions[0], data.token)
    return Draw(data.views[number][0], caption, data.owner, example.weight, 1 / samples, where, noises)


@torch.no_grad()
def fixed_noise_losses(
    family: Family, draws: Mapping[Key, Draw], largest: Callable[[tuple[int, ...]], int]
) -> dict[Key, Tensor]:
    """The loss of each draw, a scalar; largest: shape of latents -> how many go through the U-Net at once."""
    losses: dict[Key, Tensor] = {}
    for group in same_shape(draws, largest):
        batch = stack_draws([draws[key] for key in group]).to(family.device)
        losses |= zip(group, denoising_losses(family, batch, uniform), strict=True)
    return losses
