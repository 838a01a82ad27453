"""The denoising loss of each example."""

from __future__ import annotations

from torch import Tensor

from .data.batches import Batch
from .families import Family
from .weightings import Weighting


def denoising_losses(family: Family, batch: Batch, weighting: Weighting) -> Tensor:
    """The weighted mean squared error of each example's prediction, (B,) float32; Ho et al. 2020, equation 14."""
    schedule = family.schedule
    latents = batch.posterior.sample(batch.posterior_noise) * family.scale  # (B, c, h, w)
    timesteps = schedule.sample_timesteps(batch.timestep_draws)  # (B,)
    noisy = schedule.add_noise(latents, batch.noise, timesteps)
    prediction = family.predict(noisy, timesteps, family.encode_text(batch.captions), batch.sizes)
    error = (prediction - schedule.target(latents, batch.noise, timesteps)).square()  # (B, c, h, w)
    return error.mean((1, 2, 3)) * weighting(schedule.snr(timesteps), schedule.prediction_type)  # (B,)
