"""The denoising loss of each example."""

from __future__ import annotations

from torch import Tensor

from ..data.batches import Batch
from ..families import Family
from ..method.weightings import Weighting


def denoising_losses(family: Family, batch: Batch, weighting: Weighting) -> Tensor:
    """The weighted mean squared error of each example's prediction, (B,) float32; Ho et al. 2020, equation 14.

    weighting: snr (B,) and prediction type -> weights (B,), see weightings.py.
    """
    schedule = family.schedule
    latents = family.to_latents(batch.posterior.sample(batch.posterior_noise))  # (B, c, h, w)
    timesteps = schedule.sample_timesteps(batch.timestep_draws, latents.shape[-2:])  # (B,)
    noisy = schedule.add_noise(latents, batch.noise, timesteps)
    prediction = family.predict(noisy, timesteps, family.encode_text(batch.captions, batch.owners), batch.sizes)
    error = (prediction - schedule.target(latents, batch.noise, timesteps)).square()  # (B, c, h, w)
    counts = weighting(schedule.snr(timesteps), schedule.prediction_type) * batch.weights  # (B,)
    return masked_mean(error, batch.mask) * counts  # (B,)


def masked_mean(error: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of each example's error (B, c, h, w), weighted by a mask (B, 1, h, w): sum(w e) / sum(w), (B,).

    So a small subject counts as much as a large one. A mask of ones, or none, gives the plain mean bit for bit; one of
    zeros gives 0.
    """
    if mask is None:
        return error.mean((1, 2, 3))
    mean = mask.sum((1, 2, 3), keepdim=True) / mask[0].numel()  # (B, 1, 1, 1)
    return (error * (mask / mean.clamp(min=1e-9))).mean((1, 2, 3))
