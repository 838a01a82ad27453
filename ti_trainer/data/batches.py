"""Which example at which step: a pure function of seed, concept, step and index."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from ..captions import AS_WRITTEN, CaptionPolicy, draw_caption, fill
from ..randomness import generator
from .examples import Example
from .latents import CachedView, LatentPosterior

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class ConceptData:
    """A concept's examples and their cached views, as many views for each."""

    token: str
    examples: Sequence[Example]
    views: Sequence[Sequence[CachedView]]
    caption_policy: CaptionPolicy = AS_WRITTEN

    @cached_property
    def own(self) -> list[int]:
        """The numbers of the concept's own pictures."""
        return [number for number, example in enumerate(self.examples) if not example.is_class]

    @cached_property
    def turns(self) -> tuple[list[int], list[int]]:
        """The numbers of own and of class pictures, each as often as it repeats."""
        own, of_class = (
            [n for n, example in enumerate(self.examples) if example.is_class is kind for _ in range(example.repeats)]
            for kind in (False, True)
        )
        return own, of_class


@dataclass(frozen=True)
class Batch:
    """Everything that the objective needs, drawn, of latents of one shape."""

    posterior: LatentPosterior  # (B, c, h, w)
    captions: list[str]
    posterior_noise: Tensor  # (B, c, h, w)
    noise: Tensor  # (B, c, h, w)
    timestep_draws: Tensor  # (B,) in [0, 1)
    sizes: Tensor  # (B, 6) pixels, see View.sizes
    mask: Tensor | None  # (B, 1, h, w): what each latent counts; None where no example has a mask
    weights: Tensor  # (B,): what each example counts

    def to(self, device: torch.device) -> Batch:
        return Batch(
            posterior=LatentPosterior(self.posterior.mean.to(device), self.posterior.std.to(device)),
            captions=self.captions,
            posterior_noise=self.posterior_noise.to(device),
            noise=self.noise.to(device),
            timestep_draws=self.timestep_draws.to(device),
            sizes=self.sizes.to(device),
            mask=None if self.mask is None else self.mask.to(device),
            weights=self.weights.to(device),
        )


@dataclass(frozen=True)
class Draw:
    """One example of a step. Its noises are drawn when they are needed, so that a large step costs no memory."""

    view: CachedView
    caption: str
    weight: float
    timestep: float  # [0, 1)
    noise_state: Tensor  # of the generator that draws the noises

    def noises(self) -> tuple[Tensor, Tensor]:
        """For the posterior and for the schedule, each (c, h, w)."""
        draws = torch.Generator()
        draws.set_state(self.noise_state)
        shape = self.view.posterior.mean.shape
        return torch.randn(shape, generator=draws), torch.randn(shape, generator=draws)


def draw_example(data: ConceptData, seed: int, step: int, index: int, batch_size: int) -> Draw:
    """Example `index` of the `batch_size` that a concept sees at `step`; half of them are of its class, if it has any.

    Timesteps are stratified over the batch: index i draws from the i-th of batch_size equal parts.
    """
    draws = generator(seed, data.token, step, index)
    turns, of_class = data.turns
    if of_class and int(torch.randint(2, (), generator=draws)):
        turns = of_class
    views = len(data.views[0])
    view, turn = divmod(int(torch.randint(views * len(turns), (), generator=draws)), len(turns))
    example = data.examples[turns[turn]]
    caption = draw_caption(example.captions, data.caption_policy, draws)
    timestep = (index + float(torch.rand((), generator=draws, dtype=torch.float64))) / batch_size
    shown = data.views[turns[turn]][view]
    return Draw(shown, fill(caption, data.token), example.weight, timestep, draws.get_state())


def same_shape(views: Mapping[Key, CachedView], largest: int) -> list[list[Key]]:
    """The keys in lists of at most `largest` whose latents have one shape, in their order."""
    shapes: dict[tuple[int, ...], list[Key]] = {}
    for key, view in views.items():
        shapes.setdefault(view.posterior.mean.shape, []).append(key)
    return [keys[start : start + largest] for keys in shapes.values() for start in range(0, len(keys), largest)]


def stack_draws(draws: Sequence[Draw], timesteps: Callable[[Tensor], Tensor] = torch.clone) -> Batch:
    """Examples of one shape as a batch; timesteps: of uniform draws (B,) in [0, 1)."""
    posterior_noise, noise = zip(*(draw.noises() for draw in draws), strict=True)
    return stack_views(
        [draw.view for draw in draws],
        [draw.caption for draw in draws],
        torch.stack(posterior_noise),
        torch.stack(noise),
        timesteps(torch.tensor([draw.timestep for draw in draws])),
        torch.tensor([draw.weight for draw in draws]),
    )


def stack_views(
    views: Sequence[CachedView],
    captions: list[str],
    posterior_noise: Tensor,
    noise: Tensor,
    timestep_draws: Tensor,
    weights: Tensor,
) -> Batch:
    """Views of one shape, and what was drawn for them, as a batch."""
    mean = torch.stack([view.posterior.mean for view in views])  # (B, c, h, w)
    mask = None
    if any(view.mask is not None for view in views):
        everywhere = torch.ones_like(mean[0, :1])
        mask = torch.stack([everywhere if view.mask is None else view.mask for view in views])  # (B, 1, h, w)
    return Batch(
        posterior=LatentPosterior(mean, torch.stack([view.posterior.std for view in views])),
        captions=captions,
        posterior_noise=posterior_noise,
        noise=noise,
        timestep_draws=timestep_draws,
        sizes=torch.tensor([view.sizes for view in views]),
        mask=mask,
        weights=weights,
    )
