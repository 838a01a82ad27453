"""The fixed-noise loss, which tells convergence where the training loss tells nothing.

Voronov et al. 2023, "Is This Loss Informative?" (DVAR, arXiv 2302.04841): the same pictures, captions, noise and
timesteps at every measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from .captions import fill
from .data.batches import Batch, ConceptData, same_shape, stack_views
from .data.latents import CachedView
from .families import Family
from .objective import denoising_losses
from .randomness import generator
from .schedules import TimestepPolicy
from .weightings import uniform

EVERYWHERE = TimestepPolicy()


def fixed_view(data: ConceptData, index: int) -> tuple[int, CachedView]:
    """The number and the first view of the picture that sample `index` shows: one of the concept's own in turn."""
    number = data.own[index % len(data.own)]
    return number, data.views[number][0]


def fixed_batch(
    data: ConceptData, seed: int, indices: Sequence[int], samples: int, timesteps: TimestepPolicy = EVERYWHERE
) -> Batch:
    """The examples `indices` of a concept's `samples` fixed ones, whose views must be of one shape.

    Sample i lies at the middle of the i-th of `samples` equal parts of the timesteps that are trained at all, so that
    every picture sees all noise levels. Latents are the posterior means.
    """
    numbers, views = zip(*(fixed_view(data, index) for index in indices), strict=True)
    shape = views[0].posterior.mean.shape
    noise = [torch.randn(shape, generator=generator(seed, "validation", data.token, index)) for index in indices]
    return stack_views(
        views,
        [fill(data.examples[number].captions[0], data.token) for number in numbers],
        torch.zeros(len(views), *shape),
        torch.stack(noise),
        timesteps.within_support(torch.tensor([(index + 0.5) / samples for index in indices])),
        torch.tensor([data.examples[number].weight for number in numbers]),
    )


@torch.no_grad()
def fixed_noise_loss(
    family: Family,
    data: ConceptData,
    seed: int,
    indices: Iterable[int],
    samples: int,
    batch_size: int,
    timesteps: TimestepPolicy = EVERYWHERE,
) -> Tensor:
    """The sum of the losses of those samples, divided by `samples`: a share of the mean, to be added up. Scalar."""
    total = torch.zeros((), device=family.device)
    for group in same_shape({index: fixed_view(data, index)[1] for index in indices}, batch_size):
        batch = fixed_batch(data, seed, group, samples, timesteps).to(family.device)
        total += denoising_losses(family, batch, uniform).sum() / samples
    return total
