"""The fixed-noise loss, which tells convergence where the training loss tells nothing.

Voronov et al. 2023, "Is This Loss Informative?" (DVAR, arXiv 2302.04841): the same pictures, captions, noise and
timesteps at every measurement.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .captions import fill
from .data.batches import Batch, ConceptData, square_sizes
from .families import Family
from .objective import denoising_losses
from .randomness import generator
from .weightings import uniform


def fixed_batch(data: ConceptData, seed: int, indices: Iterable[int], samples: int) -> Batch:
    """The examples `indices` of a concept's `samples` fixed ones.

    Sample i shows picture i modulo their number at the middle of the i-th of `samples` equal parts of the timesteps, so
    that every picture sees all noise levels. Latents are the posterior means.
    """
    indices = list(indices)
    mean = data.posteriors.mean
    pictures = torch.tensor([index % len(data.examples) for index in indices], device=mean.device)
    posterior = data.posteriors[pictures]
    noise = [torch.randn(mean.shape[1:], generator=generator(seed, "validation", data.token, i)) for i in indices]
    return Batch(
        posterior=posterior,
        captions=[fill(data.examples[i % len(data.examples)].captions[0], data.token) for i in indices],
        posterior_noise=torch.zeros_like(posterior.mean),
        noise=torch.stack(noise).to(mean.device),
        timestep_draws=torch.tensor([(i + 0.5) / samples for i in indices], device=mean.device),
        sizes=torch.tensor(
            [square_sizes(data.examples[i % len(data.examples)], data.resolution) for i in indices], device=mean.device
        ),
    )


@torch.no_grad()
def fixed_noise_loss(
    family: Family, data: ConceptData, seed: int, indices: Iterable[int], samples: int, batch_size: int
) -> Tensor:
    """The sum of the losses of those samples, divided by `samples`: a share of the mean, to be added up. Scalar."""
    indices = list(indices)
    total = torch.zeros((), device=data.posteriors.mean.device)
    for start in range(0, len(indices), batch_size):
        batch = fixed_batch(data, seed, indices[start : start + batch_size], samples)
        total += denoising_losses(family, batch, uniform).sum() / samples
    return total
