"""The forward process: what noise does to latents, and what the denoiser is asked to predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from .shifts import Shift, Size, fixed, shifted

# latents, noise, sqrt(alpha bar), sqrt(1 - alpha bar) -> what the network predicts
TARGETS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": lambda latents, noise, signal, sigma: noise,
    # Salimans & Ho 2022, "Progressive Distillation", appendix D
    "v_prediction": lambda latents, noise, signal, sigma: signal * noise - sigma * latents,
}


class Schedule(Protocol):
    """A forward process from clean latents x to noise n.

    Shapes everywhere: latents and noise (B, c, h, w), draws and timesteps (B,).
    """

    @property
    def prediction_type(self) -> str:
        """What the network predicts: "epsilon", "v_prediction" or "flow_prediction" (diffusers' names)."""
        ...

    def to(self, device: torch.device) -> Schedule:
        """The same with its tensors on `device`."""
        ...

    def sample_timesteps(self, draws: Tensor, size: Size) -> Tensor:
        """Fractions of the schedule (B,) in [0, 1], 0 clean and 1 noise -> timesteps as the denoiser takes them, (B,).

        size: height and width of the latents. Uniform fractions are where a sampler of many steps goes.
        """
        ...

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noisy latents, (B, c, h, w)."""
        ...

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What `Family.predict` should return for `add_noise` of the same arguments, (B, c, h, w)."""
        ...

    def snr(self, timesteps: Tensor) -> Tensor:
        """Signal-to-noise ratio: the squared factor of x over that of n, (B,) -> (B,)."""
        ...


@dataclass(frozen=True)
class VariancePreserving:
    """A variance-preserving diffusion process in discrete time (Ho et al. 2020, section 2).

    With a = alphas_cumprod[t], noisy latents are sqrt(a) x + sqrt(1 - a) n. The target is n ("epsilon") or
    sqrt(a) n - sqrt(1 - a) x ("v_prediction"). Timesteps are int64, from 0 to T - 1.
    """

    alphas_cumprod: Tensor  # (T,) float32, falling
    prediction_type: str  # a key of TARGETS

    def to(self, device: torch.device) -> VariancePreserving:
        return VariancePreserving(self.alphas_cumprod.to(device), self.prediction_type)

    def sample_timesteps(self, draws: Tensor, size: Size) -> Tensor:
        """floor(draw T), (B,) -> (B,) int64, for every size."""
        steps = len(self.alphas_cumprod)
        return (draws * steps).long().clamp(max=steps - 1)  # a draw just below 1 may have been rounded to 1

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """sqrt(a) x + sqrt(1 - a) n, (B, c, h, w); Ho et al. 2020, equation 4."""
        signal, sigma = self.scales(timesteps)
        return signal * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The row of TARGETS, (B, c, h, w)."""
        return TARGETS[self.prediction_type](latents, noise, *self.scales(timesteps))

    def snr(self, timesteps: Tensor) -> Tensor:
        """a / (1 - a), (B,) -> (B,)."""
        alphas = self.alphas_cumprod[timesteps]
        return alphas / (1 - alphas)

    def scales(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) -> sqrt(a) and sqrt(1 - a), each (B, 1, 1, 1)."""
        alphas = self.alphas_cumprod[timesteps][:, None, None, None]
        return alphas.sqrt(), (1 - alphas).sqrt()


@dataclass(frozen=True)
class FlowMatching:
    """Rectified flow (Liu et al. 2023; Esser et al. 2024, "Scaling Rectified Flow Transformers", section 3).

    With s in [0, 1], noisy latents are (1 - s) x + s n and the target is the velocity n - x. Timesteps are float32,
    t = s steps. Fractions of the schedule are shifted towards noise, see shifts.py.
    """

    shift: Shift = field(default_factory=lambda: fixed(1.0))
    steps: int = 1000  # the timestep of pure noise
    prediction_type: str = "flow_prediction"

    def to(self, device: torch.device) -> FlowMatching:
        """Itself: it has no tensors."""
        return self

    def sample_timesteps(self, draws: Tensor, size: Size) -> Tensor:
        """Shifted fractions * steps, (B,) -> (B,) float32."""
        return shifted(draws.float(), self.shift(size)) * self.steps

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """(1 - s) x + s n, (B, c, h, w)."""
        level = (timesteps / self.steps)[:, None, None, None]  # (B, 1, 1, 1)
        return (1 - level) * latents + level * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """n - x, (B, c, h, w)."""
        return noise - latents

    def snr(self, timesteps: Tensor) -> Tensor:
        """((1 - s) / s)^2, (B,) -> (B,); infinite where s is 0."""
        level = timesteps / self.steps
        return ((1 - level) / level).square()
