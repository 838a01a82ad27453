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
    """A concept's examples, and for each of them equally many views."""

    token: str
    examples: Sequence[Example]
    views: Sequence[Sequence[CachedView]]
    caption_policy: CaptionPolicy = AS_WRITTEN
    owner: str = ""  # the name of the concept in `Placeholders`; by default its token

    def __post_init__(self) -> None:
        if not self.owner:
            object.__setattr__(self, "owner", self.token)

    @property
    def shape(self) -> tuple[int, int, int]:
        """c, h, w of the first picture's latents."""
        return self.views[0][0].shape

    @cached_property
    def own(self) -> list[int]:
        """The indices of the concept's own pictures; the others are pictures of its class."""
        return [number for number, example in enumerate(self.examples) if not example.is_class]

    @cached_property
    def turns(self) -> tuple[list[int], list[int]]:
        """The indices of own pictures and those of class pictures, each as often as the picture repeats."""
        own, of_class = (
            [n for n, example in enumerate(self.examples) if example.is_class is kind for _ in range(example.repeats)]
            for kind in (False, True)
        )
        return own, of_class


@dataclass(frozen=True)
class Batch:
    """Everything that the objective needs of examples whose latents have one shape."""

    posterior: LatentPosterior  # (B, c, h, w)
    captions: list[str]
    owners: list[str]  # for each caption the concept whose rows stand for the token
    posterior_noise: Tensor  # (B, c, h, w)
    noise: Tensor  # (B, c, h, w)
    timestep_draws: Tensor  # (B,) in [0, 1)
    sizes: Tensor  # (B, 6) pixels, see View.sizes
    mask: Tensor | None  # (B, 1, h, w): the weight of each latent in the loss; None if no example has a mask
    weights: Tensor  # (B,): the weight of each example's loss
    shares: Tensor  # (B,): the part of its concept's loss that each example makes up

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, see `upload`."""
        moved: dict[str, Any] = {
            name: upload(value, device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        posterior = LatentPosterior(upload(self.posterior.mean, device), upload(self.posterior.std, device))
        return replace(self, posterior=posterior, **moved)


@dataclass(frozen=True)
class Draw:
    """What was drawn for one example; its noise is made only when it is needed, so that a large step fits in memory."""

    view: CachedView
    caption: str
    owner: str
    weight: float
    share: float
    timestep: float  # [0, 1]: the place in the schedule
    noises: Callable[[tuple[int, ...]], tuple[Tensor, Tensor]]  # shape -> noise for the posterior, and for the schedule


def draw_example(
    data: ConceptData,
    seed: int,
    step: int,
    index: int,
    batch_size: int,
    timesteps: Callable[[Tensor], Tensor] = torch.clone,
) -> Draw:
    """Example `index` of the `batch_size` that a concept sees at `step`.

    If the concept has class pictures, each example is one of them with a chance of one half. Timesteps are stratified
    over the batch: example i draws from the i-th of batch_size equal parts of [0, 1), and `timesteps` maps such draws
    to places in the schedule.
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
    """The keys of draws, in their order, in lists whose latents have one shape.

    largest: shape -> how long a list may be.
    """
    shapes: dict[tuple[int, ...], list[Key]] = {}
    for key, draw in draws.items():
        shapes.setdefault(draw.view.shape, []).append(key)
    return [
        keys[start : start + largest(shape)]
        for shape, keys in shapes.items()
        for start in range(0, len(keys), largest(shape))
    ]


def stack_draws(draws: Sequence[Draw]) -> Batch:
    """A batch of examples whose latents have one shape; encodes the views that are not encoded yet."""
    views = [draw.view for draw in draws]
    posteriors = [view.encode() for view in views]
    mean = torch.stack([posterior.mean for posterior in posteriors])  # (B, c, h, w)
    std = torch.stack([posterior.std for posterior in posteriors])  # (B, c, h, w)
    posterior_noise, noise = zip(*(draw.noises(mean.shape[1:]) for draw in draws), strict=True)
    mask = None
    if any(view.mask is not None for view in views):
        everywhere = torch.ones_like(mean[0, :1])
        mask = torch.stack([everywhere if view.mask is None else view.mask for view in views])  # (B, 1, h, w)
    return Batch(
        posterior=LatentPosterior(mean, std),
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
    """The tensor on a device; a copy to a GPU goes through pinned memory, so that the program need not wait for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
