"""The forward process: what noise does to latents, and what the U-Net is asked to predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# latents, noise, sqrt(alpha bar), sqrt(1 - alpha bar) -> what the network predicts
TARGETS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": lambda latents, noise, signal, sigma: noise,
    # Salimans & Ho 2022, "Progressive Distillation", appendix D
    "v_prediction": lambda latents, noise, signal, sigma: signal * noise - sigma * latents,
}


@dataclass(frozen=True)
class NoiseSchedule:
    """A variance-preserving diffusion process in discrete time (Ho et al. 2020, section 2)."""

    alphas_cumprod: Tensor  # (T,) float32, falling
    prediction_type: str  # a key of TARGETS

    def to(self, device: torch.device) -> NoiseSchedule:
        return NoiseSchedule(self.alphas_cumprod.to(device), self.prediction_type)

    def sample_timesteps(self, draws: Tensor) -> Tensor:
        """Uniform draws (B,) in [0, 1) -> timesteps (B,) int64."""
        steps = len(self.alphas_cumprod)
        return (draws * steps).long().clamp(max=steps - 1)  # a draw just below 1 may have been rounded to 1

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """(B, c, h, w), (B, c, h, w), (B,) -> noisy latents (B, c, h, w); Ho et al. 2020, equation 4."""
        signal, sigma = self.scales(timesteps)
        return signal * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What `predict` should return for `add_noise` of the same arguments, (B, c, h, w)."""
        return TARGETS[self.prediction_type](latents, noise, *self.scales(timesteps))

    def snr(self, timesteps: Tensor) -> Tensor:
        """Signal-to-noise ratio, (B,) -> (B,)."""
        alphas = self.alphas_cumprod[timesteps]
        return alphas / (1 - alphas)

    def scales(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) -> sqrt(alpha bar) and sqrt(1 - alpha bar), each (B, 1, 1, 1)."""
        alphas = self.alphas_cumprod[timesteps][:, None, None, None]
        return alphas.sqrt(), (1 - alphas).sqrt()
