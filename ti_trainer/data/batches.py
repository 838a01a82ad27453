"""Which example at which step: a pure function of seed, concept, step and index."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..method.randomness import generator
from ..method.tokens import fill
from .captions import AS_WRITTEN, CaptionPolicy, draw_caption
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
    owner: str = ""  # what `Placeholders` calls the concept; by default its token

    def __post_init__(self) -> None:
        if not self.owner:
            object.__setattr__(self, "owner", self.token)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the first picture's latents: c, h, w."""
        return self.views[0][0].shape

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
    owners: list[str]  # the concept with whose rows each caption is read
    posterior_noise: Tensor  # (B, c, h, w)
    noise: Tensor  # (B, c, h, w)
    timestep_draws: Tensor  # (B,) in [0, 1)
    sizes: Tensor  # (B, 6) pixels, see View.sizes
    mask: Tensor | None  # (B, 1, h, w): what each latent counts; None where no example has a mask
    weights: Tensor  # (B,): what each example counts
    shares: Tensor  # (B,): what part of its concept's loss each example is

    def to(self, device: torch.device) -> Batch:
        """On the device, see `upload`."""
        moved: dict[str, Any] = {
            name: upload(value, device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        mean, std = self.posterior.mean, self.posterior.std
        return replace(self, posterior=LatentPosterior(upload(mean, device), upload(std, device)), **moved)


@dataclass(frozen=True)
class Draw:
    """One example, drawn. Its noises are made when they are needed, so that a large step costs no memory."""

    view: CachedView
    caption: str
    owner: str
    weight: float
    share: float
    timestep: float  # [0, 1]: where in the schedule
    noises: Callable[[tuple[int, ...]], tuple[Tensor, Tensor]]  # shape -> for the posterior and for the schedule


def draw_example(
    data: ConceptData,
    seed: int,
    step: int,
    index: int,
    batch_size: int,
    timesteps: Callable[[Tensor], Tensor] = torch.clone,
) -> Draw:
    """Example `index` of the `batch_size` that a concept sees at `step`; half of them are of its class, if it has any.

    Timesteps are stratified over the batch: index i draws from the i-th of batch_size equal parts; timesteps: what a
    policy makes of such draws in [0, 1).
    """
    draws = generator(seed, data.token, step, index)
    turns, of_class = data.turns
    if of_class and int(torch.randint(2, (), generator=draws)):
        turns = of_class
    views = len(data.views[0])
    view, turn = divmod(int(torch.randint(views * len(turns), (), generator=draws)), len(turns))
    example = data.examples[turns[turn]]
    caption = fill(draw_caption(example.captions, data.caption_policy, draws), data.token)
    timestep = (index + float(torch.rand((), generator=draws, dtype=torch.float64))) / batch_size
    state = draws.get_state()

    def noises(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        rest = torch.Generator()
        rest.set_state(state)
        return torch.randn(shape, generator=rest), torch.randn(shape, generator=rest)

    where = float(timesteps(torch.tensor([timestep])))
    shown = data.views[turns[turn]][view]
    return Draw(shown, caption, data.owner, example.weight, 1 / batch_size, where, noises)


def same_shape(draws: Mapping[Key, Draw], largest: Callable[[tuple[int, ...]], int]) -> list[list[Key]]:
    """The keys in lists whose latents have one shape, in their order; largest: shape -> how long a list may be."""
    shapes: dict[tuple[int, ...], list[Key]] = {}
    for key, draw in draws.items():
        shapes.setdefault(draw.view.shape, []).append(key)
    return [
        keys[start : start + largest(shape)]
        for shape, keys in shapes.items()
        for start in range(0, len(keys), largest(shape))
    ]


def stack_draws(draws: Sequence[Draw]) -> Batch:
    """Examples of one shape as a batch."""
    views = [draw.view for draw in draws]
    mean = torch.stack([view.posterior.mean for view in views])  # (B, c, h, w)
    posterior_noise, noise = zip(*(draw.noises(mean.shape[1:]) for draw in draws), strict=True)
    mask = None
    if any(view.mask is not None for view in views):
        everywhere = torch.ones_like(mean[0, :1])
        mask = torch.stack([everywhere if view.mask is None else view.mask for view in views])  # (B, 1, h, w)
    return Batch(
        posterior=LatentPosterior(mean, torch.stack([view.posterior.std for view in views])),
        captions=[draw.caption for draw in draws],
        owners=[draw.owner for draw in draws],
        posterior_noise=torch.stack(posterior_noise),
        noise=torch.stack(noise),
        timestep_draws=torch.tensor([draw.timestep for draw in draws]),
        sizes=torch.tensor([view.sizes for view in views]),
        mask=mask,
        weights=torch.tensor([draw.weight for draw in draws]),
        shares=torch.tensor([draw.share for draw in draws]),
    )


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """To the device without waiting for it: from pinned memory where it is a GPU."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
