"""Masks of what the first words of a concept name, found by the frozen model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config.config import TrainConfig
from ..data.batches import same_shape, stack_draws
from ..data.examples import start_of
from ..data.latents import CachedView
from ..errors import BadInput
from ..families import Family
from ..files.wording import flag
from ..method.initializers import starts_from_words
from ..method.phrases import with_article
from ..method.placeholders import NOBODY
from .gathering import Gathered
from .memory.plan import BUSY
from .word_losses import CAPTION, WordLosses

DRAWS = 8  # of noise for each view: twice as many passes of the denoiser, without gradients
NOISY = (0.3, 0.7)  # fractions of the schedule between which they lie
LOUDEST = 0.95  # the quantile of the changes from which on a latent is all subject
LEAST = 0.4  # of a latent that is none: what a model sees in a picture is a guess


@dataclass(frozen=True)
class ModelMask:
    """The weight of each latent of a view in the loss, by how much the words change what the model predicts there.

    After DiffEdit (Couairon et al. 2022, arXiv 2210.11427, section 3.2), which cuts the changes in two classes; here
    their square roots are weights.
    """

    family: Family
    words: str
    background: float  # TrainConfig.mask_background
    seed: int

    def __call__(self, view: CachedView) -> Tensor:
        """The weights of an encoded view, (1, h, w) float32 on the CPU, the same whenever it is asked for.

        With c the changes, they are b + (1 - b) s, s = sqrt(c / the LOUDEST quantile of c) between LEAST and 1.
        """
        changes = self.changes(view)
        share = (changes / changes.quantile(LOUDEST).clamp(min=1e-12)).sqrt().clamp(LEAST, 1)
        return (self.background + (1 - self.background) * share)[None]

    @torch.no_grad()
    def changes(self, view: CachedView) -> Tensor:
        """The mean square, over DRAWS and channels, of what "a photo of a WORDS" changes beside no text, (h, w)."""
        family = self.family
        schedule = family.schedule
        text = family.encode_text([CAPTION.format(with_article(self.words)), ""], [NOBODY] * 2)
        losses = WordLosses(family, [view], self.seed, levels=NOISY)
        most = max(1, BUSY // math.prod(view.shape[1:]))
        changes = torch.zeros(view.shape[1:])
        draws = {index: losses.draw(index) for index in range(DRAWS)}
        for group in same_shape(draws, lambda shape: most):
            batch = stack_draws([draws[index] for index in group]).to(family.device)
            latents = family.to_latents(batch.posterior.mean)  # (B, c, h, w)
            timesteps = schedule.sample_timesteps(batch.timestep_draws, latents.shape[-2:])  # (B,)
            noisy = schedule.add_noise(latents, batch.noise, timesteps)
            named, unnamed = (
                family.predict(noisy, timesteps, text[[number] * len(group)], batch.sizes) for number in (0, 1)
            )
            changes += (named - unnamed).float().square().mean(1).sum(0).cpu() / DRAWS
        return changes


def seek_masks(config: TrainConfig, gathered: Gathered, family: Family) -> None:
    """Let views of the concept's own pictures that have no mask get one from the model when they are encoded.

    Only where the config says so; raises BadInput where its rows start from no words.
    """
    concept = config.concept
    if concept.masks != "model" or config.mask_background == 1:
        return
    if not starts_from_words(start_of(concept)):
        raise BadInput(
            f"{flag('masks', 'model')} looks for what the rows start from, and {flag('init', concept.init)} names "
            "nothing: start from a word, such as cat, or give masks as files"
        )
    words = concept.token if concept.tune else concept.init
    find = ModelMask(family, words, config.mask_background, config.seed)
    for example, shown in zip(gathered.examples, gathered.views, strict=True):
        for view in shown:
            if view.mask is None and not example.is_class:
                view.find_mask = find
