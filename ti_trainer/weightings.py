"""How much an example counts, by the signal-to-noise ratio of its timestep."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .errors import BadInput

GAMMA = 5.0

Weighting = Callable[[Tensor, str], Tensor]  # snr (B,), prediction type -> weights (B,)


def uniform(snr: Tensor, prediction_type: str) -> Tensor:
    return torch.ones_like(snr)


def min_snr(snr: Tensor, prediction_type: str) -> Tensor:
    """Hang et al. 2023, section 3.4: min(snr, gamma) in units of the loss on x0, for noise or velocity targets."""
    divisor = {"epsilon": snr, "v_prediction": snr + 1}[prediction_type]
    return snr.clamp(max=GAMMA) / divisor


WEIGHTINGS: dict[str, Weighting] = {"uniform": uniform, "min_snr": min_snr}


def get_weighting(name: str) -> Weighting:
    if name not in WEIGHTINGS:
        raise BadInput(f"--weighting is '{name}'; choose one of {', '.join(WEIGHTINGS)}")
    return WEIGHTINGS[name]
