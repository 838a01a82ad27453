"""Which example at which step: a pure function of seed, concept, step and index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..captions import AS_WRITTEN, CaptionPolicy, draw_caption, fill
from ..randomness import generator
from .examples import Example
from .latents import LatentPosterior


@dataclass(frozen=True)
class ConceptData:
    """A concept's examples and their cached posteriors, (N or 2N, c, h, w)."""

    token: str
    examples: Sequence[Example]
    posteriors: LatentPosterior
    resolution: int  # pixels
    caption_policy: CaptionPolicy = AS_WRITTEN


@dataclass(frozen=True)
class Batch:
    """Everything that the objective needs, drawn; on the device of the posteriors."""

    posterior: LatentPosterior  # (B, c, h, w)
    captions: list[str]
    posterior_noise: Tensor  # (B, c, h, w)
    noise: Tensor  # (B, c, h, w)
    timestep_draws: Tensor  # (B,) in [0, 1)
    sizes: Tensor  # (B, 6) pixels: original height and width, top and left of the crop, its height and width


def draw_batch(data: ConceptData, seed: int, step: int, indices: Iterable[int], batch_size: int) -> Batch:
    """The examples `indices` of the `batch_size` that a concept sees at `step`.

    Timesteps are stratified over the batch: index i draws from the i-th of batch_size equal parts.
    """
    drawn = [draw_example(data, seed, step, index, batch_size) for index in indices]
    chosen, captions, posterior_noise, noise, draws = zip(*drawn, strict=True)
    mean = data.posteriors.mean
    sizes = [square_sizes(data.examples[number % len(data.examples)], data.resolution) for number in chosen]
    return Batch(
        posterior=data.posteriors[torch.tensor(chosen, device=mean.device)],
        captions=list(captions),
        posterior_noise=torch.stack(posterior_noise).to(mean.device),
        noise=torch.stack(noise).to(mean.device),
        timestep_draws=torch.tensor(draws, device=mean.device),
        sizes=torch.tensor(sizes, device=mean.device),
    )


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Several batches as one, in their order."""
    return Batch(
        posterior=LatentPosterior(
            torch.cat([batch.posterior.mean for batch in batches]),
            torch.cat([batch.posterior.std for batch in batches]),
        ),
        captions=[caption for batch in batches for caption in batch.captions],
        posterior_noise=torch.cat([batch.posterior_noise for batch in batches]),
        noise=torch.cat([batch.noise for batch in batches]),
        timestep_draws=torch.cat([batch.timestep_draws for batch in batches]),
        sizes=torch.cat([batch.sizes for batch in batches]),
    )


def square_sizes(example: Example, resolution: int) -> tuple[int, ...]:
    """SDXL's micro-conditioning of the central square (Podell et al. 2023, section 2.2)."""
    width, height = example.size
    scale = resolution / min(width, height)
    top, left = (round((side * scale - resolution) / 2) for side in (height, width))
    return height, width, top, left, resolution, resolution


def draw_example(
    data: ConceptData, seed: int, step: int, index: int, batch_size: int
) -> tuple[int, str, Tensor, Tensor, float]:
    """Posterior number, caption, two noises (c, h, w) and a timestep in [0, 1)."""
    draws = generator(seed, data.token, step, index)
    shape = data.posteriors.mean.shape[1:]
    number = int(torch.randint(len(data.posteriors.mean), (), generator=draws))
    captions = data.examples[number % len(data.examples)].captions
    caption = draw_caption(captions, data.caption_policy, draws)
    timestep = (index + float(torch.rand((), generator=draws, dtype=torch.float64))) / batch_size
    posterior_noise = torch.randn(shape, generator=draws)
    noise = torch.randn(shape, generator=draws)
    return number, fill(caption, data.token), posterior_noise, noise, timestep
