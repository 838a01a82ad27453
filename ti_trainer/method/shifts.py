"""How much the noise levels of a flow are shifted towards noise: more for larger pictures, whose noise hides less.

A shift a takes a fraction u of the schedule to the noise level a u / (1 + (a - 1) u) (Esser et al. 2024, "Scaling
Rectified Flow Transformers", equation 23). Models that were trained at many sizes have one for each: e^mu, where mu
depends on the number of patches of latents, the tokens that a transformer reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Size: TypeAlias = "Sequence[int]"  # height and width of latents
Shift: TypeAlias = "Callable[[Size], float]"  # above 0; 1 leaves fractions as they are


def shifted(fractions: Tensor, shift: float) -> Tensor:
    """a u / (1 + (a - 1) u), (B,) -> (B,)."""
    return shift * fractions / (1 + (shift - 1) * fractions)


def fixed(shift: float) -> Shift:
    """The same for every size."""
    return lambda size: shift


def by_tokens(mu: Callable[[int], float], patch: int) -> Shift:
    """e^mu of the number of patches, each of `patch` x `patch` latents."""
    return lambda size: exp(mu((size[0] // patch) * (size[1] // patch)))


def linear_mu(low: tuple[int, float], high: tuple[int, float]) -> Callable[[int], float]:
    """The straight line through two points (tokens, mu): Flux.1 has (256, 0.5) and (4096, 1.15)."""
    slope = (high[1] - low[1]) / (high[0] - low[0])
    return lambda tokens: low[1] + slope * (tokens - low[0])


def empirical_mu(steps: int) -> Callable[[int], float]:
    """What Flux.2 draws pictures with in so many steps: between what was found for 10 and for 200 of them.

    Black Forest Labs' own inference code; beyond 4300 tokens the number of steps does not count.
    """

    def mu(tokens: int) -> float:
        of_200 = 0.00016927 * tokens + 0.45666666
        of_10 = 8.73809524e-05 * tokens + 1.89833333
        return of_200 if tokens > 4300 else of_200 + (of_10 - of_200) * (200 - steps) / 190

    return mu
