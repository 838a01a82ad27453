"""The losses of texts on a concept's pictures, under noise that is the same for all: what words are chosen by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ..data.batches import Draw, same_shape, stack_draws
from ..data.latents import CachedView
from ..families import Family
from ..method.phrases import with_article
from ..method.placeholders import NOBODY
from ..method.randomness import generator
from ..method.weightings import Weighting, uniform
from .memory.plan import BUSY
from .objective import masked_mean

CAPTION = "a photo of {}"
TEXTS = 64  # that are encoded at once: an encoder keeps the outputs of all its layers
# Fractions of the schedule between which words of the bundled world are told apart with the fewest draws. With less
# noise the pictures say all themselves, with more nothing is left of them.
NOISY = (0.3, 0.8)
GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, are spread evenly however many there are


class WordLosses:
    """A `method.suggest.Losses` of a frozen model.

    Draw i is picture i mod P, at fraction (i GOLDEN + 1/2) mod 1 of a part of the schedule, with noise of its own:
    however many there are, they see pictures and noise levels evenly. Latents are the posterior means.
    """

    def __init__(
        self,
        family: Family,
        views: Sequence[CachedView],
        seed: int,
        weighting: Weighting = uniform,
        passed: Callable[[int], object] = lambda count: None,
        positions: int = BUSY,
        levels: tuple[float, float] = NOISY,
    ) -> None:
        """views: of each picture one; passed: is told after each batch how many passes it took; positions: of the
        latents, h x w, that go through the denoiser at once; levels: of noise, from and to which fraction of the
        schedule.

        Of the weightings, the uniform one tells words of the bundled world apart with the fewest draws.
        """
        self.family = family
        self.views = views
        self.seed = seed
        self.weighting = weighting
        self.passed = passed
        self.positions = positions
        self.levels = levels

    def draw(self, index: int) -> Draw:
        """Draw `index`, without a caption."""
        low, high = self.levels
        where = low + (high - low) * ((0.5 + index * GOLDEN) % 1)
        noises = partial(self.noises, index)
        return Draw(self.views[index % len(self.views)], "", "", 1.0, 1.0, where, noises)

    def noises(self, index: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """None for the posterior and that of the schedule."""
        return torch.zeros(shape), torch.randn(shape, generator=generator(self.seed, "words", index))

    def __call__(self, texts: Sequence[str], draws: range) -> Tensor:
        """The weighted loss of "a photo of a TEXT" for each text and draw, (texts, draws) float32 on the CPU."""
        return torch.cat([self.measure(texts[at : at + TEXTS], draws) for at in range(0, len(texts), TEXTS)])

    @torch.no_grad()
    def measure(self, texts: Sequence[str], draws: range) -> Tensor:
        """The same for texts that are encoded at once."""
        family = self.family
        schedule = family.schedule
        captions = [CAPTION.format(with_article(text)) for text in texts]
        # words are the model's own, whatever other concepts make of them
        told = family.encode_text(captions, [NOBODY] * len(captions))  # (texts, L, D)
        found = torch.empty(len(texts), len(draws))
        numbered = {place: self.draw(index) for place, index in enumerate(draws)}
        for group in same_shape(numbered, lambda shape: len(draws)):
            batch = stack_draws([numbered[place] for place in group]).to(family.device)
            latents = family.to_latents(batch.posterior.mean)  # (B, c, h, w)
            timesteps = schedule.sample_timesteps(batch.timestep_draws, latents.shape[-2:])  # (B,)
            noisy = schedule.add_noise(latents, batch.noise, timesteps)
            target = schedule.target(latents, batch.noise, timesteps)
            weights = self.weighting(schedule.snr(timesteps), schedule.prediction_type)  # (B,)
            pairs = [(text, number) for text in range(len(texts)) for number in range(len(group))]
            most = max(1, self.positions // latents[0, 0].numel())
            for start in range(0, len(pairs), most):
                own = pairs[start : start + most]
                which = torch.tensor([number for _, number in own], device=family.device)
                text = told[[each for each, _ in own]]
                prediction = family.predict(noisy[which], timesteps[which], text, batch.sizes[which])
                error = (prediction - target[which]).square()  # (pairs, c, h, w)
                mask = None if batch.mask is None else batch.mask[which]
                losses = (masked_mean(error, mask) * weights[which]).cpu()  # (pairs,)
                found[[each for each, _ in own], [group[number] for _, number in own]] = losses
                self.passed(len(own))
        return found
