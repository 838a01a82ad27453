"""How much an example counts, by the signal-to-noise ratio of its timestep.

A network that predicts something else than the clean latents x0 implies an x0, which can be solved for. The squared
error of its prediction is that of this x0, times

    snr                  where it predicts the noise ("epsilon"),
    snr + 1              where it predicts the velocity of a variance-preserving process ("v_prediction"),
    (sqrt(snr) + 1)^2    where it predicts the velocity n - x0 of a flow ("flow_prediction"): 1 / s^2 at noise level s.

A weight that a paper puts on x0's error therefore is divided by that factor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from ..errors import BadInput
from ..files.wording import flag

if TYPE_CHECKING:
    from torch import Tensor

GAMMA = 5.0
SMALLEST_SNR = 1e-3  # below that of every schedule that does not end in pure noise

Weighting: TypeAlias = "Callable[[Tensor, str], Tensor]"  # snr (B,), prediction type -> weights (B,)
WeightingRow: TypeAlias = "Callable[[Tensor, str, float], Tensor]"  # the same and gamma -> weights (B,)


def uniform(snr: Tensor, prediction_type: str, gamma: float = GAMMA) -> Tensor:
    """1 on the error of what is predicted, whatever it is; Ho et al. 2020, equation 14."""
    return snr.new_ones(snr.shape)


def min_snr(snr: Tensor, prediction_type: str, gamma: float = GAMMA) -> Tensor:
    """Hang et al. 2023, "Efficient Diffusion Training via Min-SNR", section 3.4: min(snr, gamma) on x0's error."""
    return {
        "epsilon": (gamma / snr).clamp(max=1),  # min(snr, gamma) / snr, also where snr is 0
        "v_prediction": snr.clamp(max=gamma) / (snr + 1),
        "flow_prediction": snr.clamp(max=gamma) / (snr.sqrt() + 1).square(),
    }[prediction_type]


def debiased(snr: Tensor, prediction_type: str, gamma: float = GAMMA) -> Tensor:
    """Yu et al. 2023, "Debias the Training of Diffusion Models": 1 / sqrt(snr) on the noise's error.

    On x0's error that is sqrt(snr), and so sqrt(snr) / (snr + 1) on the velocity's, and sqrt(snr) / (sqrt(snr) + 1)^2
    on a flow's. Pure noise would count infinitely where noise is predicted: it counts as SMALLEST_SNR.
    """
    return {
        "epsilon": snr.clamp(min=SMALLEST_SNR).rsqrt(),
        "v_prediction": 1 / (snr.sqrt() + snr.rsqrt()),  # that fraction, also where snr is 0 or infinite
        "flow_prediction": 1 / (snr.sqrt() + 2 + snr.rsqrt()),  # the same of the other
    }[prediction_type]


WEIGHTINGS: dict[str, WeightingRow] = {"uniform": uniform, "min_snr": min_snr, "debiased": debiased}


def get_weighting(name: str, gamma: float = GAMMA) -> Weighting:
    """A row of WEIGHTINGS with its gamma: snr (B,), prediction type -> weights (B,)."""
    if name not in WEIGHTINGS:
        raise BadInput(f"{flag('weighting')} is '{name}'; choose one of {', '.join(WEIGHTINGS)}")
    return lambda snr, prediction_type: WEIGHTINGS[name](snr, prediction_type, gamma)
