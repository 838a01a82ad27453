"""Which timesteps a run trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING

from ..errors import BadInput
from ..files.wording import flag

if TYPE_CHECKING:
    from torch import Tensor

MODE_SCALE = 1.29  # of Esser et al. 2024, section 3.1: the one that did best of those with heavy tails

# uniform draws in [0, 1) -> fractions of the schedule, 0 clean and 1 noise; rising, so that strata stay strata
TIMESTEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda draws: draws,
    "late": lambda draws: draws.sqrt(),  # density 2u: noisy timesteps carry the concept, clean ones its texture
    # Esser et al. 2024, equation 19 with mean 0 and deviation 1: the middle; "sigmoid" in sd-scripts
    "logit_normal": lambda draws: ((2 * draws - 1).erfinv() * 2**0.5).sigmoid(),
    # and equation 20: the middle, and some of everything
    "mode": lambda draws: draws - MODE_SCALE * ((draws * pi / 2).sin().square() - draws),
}


@dataclass(frozen=True)
class TimestepPolicy:
    """Which timesteps a run trains: a row of TIMESTEPS, between two fractions of the schedule."""

    name: str = "uniform"
    low: float = 0.0
    high: float = 1.0

    def __call__(self, draws: Tensor) -> Tensor:
        """Uniform draws (B,) in [0, 1) -> fractions of the schedule (B,)."""
        return self.within_support(TIMESTEPS[self.name](draws))

    def within_support(self, draws: Tensor) -> Tensor:
        """The same with uniform density."""
        return self.low + (self.high - self.low) * draws


def parse_timesteps(text: str) -> TimestepPolicy:
    """The policy of a row of TIMESTEPS or of "range:LOW-HIGH"; raises BadInput."""
    kind, _, span = text.partition(":")
    if text in TIMESTEPS:
        return TimestepPolicy(text)
    low, _, high = span.partition("-")
    try:
        if kind == "range" and 0 <= float(low) < float(high) <= 1:
            return TimestepPolicy("uniform", float(low), float(high))
    except ValueError:
        pass
    raise BadInput(
        f"{flag('timesteps')} is '{text}'; choose {', '.join(TIMESTEPS)}, or range:LOW-HIGH in fractions of the "
        "schedule, such as range:0.5-1 for its noisy half"
    )
