"""The learning rate at each step, as a factor of the one that is set.

Each schedule takes the share p in [0, 1) of the steps after warm-up that is done, the step (from 0), and the text
behind the colon in its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import BadInput
from ..files.wording import flag

LARGEST_FACTOR = 1e30  # of a learning-rate schedule: times the largest learning rate it is still a float32


def constant(progress: float, step: int, argument: str) -> float:
    """1."""
    return 1.0


def linear(progress: float, step: int, argument: str) -> float:
    """1 - p."""
    return 1 - progress


def cosine(progress: float, step: int, argument: str) -> float:
    """(1 + cos(pi p)) / 2; Loshchilov & Hutter 2017, "SGDR", equation 5 without restarts."""
    return 0.5 + 0.5 * math.cos(math.pi * progress)


def piecewise(progress: float, step: int, argument: str) -> float:
    """ "100=0.5,200=0.1": from step 100 half of the learning rate, from step 200 a tenth."""
    factors = {0: 1.0}
    for piece in argument.split(","):
        start, _, value = piece.partition("=")
        factors[int(start)] = float(value)
    if min(factors) < 0 or not all(0 <= factor <= LARGEST_FACTOR for factor in factors.values()):
        raise ValueError
    return factors[max(start for start in factors if start <= step)]


LR_SCHEDULES: dict[str, Callable[[float, int, str], float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "piecewise": piecewise,
}


def lr_factor(schedule: str, step: int, steps: int, warmup_steps: int) -> float:
    """The factor at `step` of `steps` (from 0): min(1, (step + 1) / (warmup_steps + 1)) times the schedule's."""
    name, _, argument = schedule.partition(":")
    progress = max(0, step - warmup_steps) / max(1, steps - warmup_steps)
    return LR_SCHEDULES[name](progress, step, argument) * min(1.0, (step + 1) / (warmup_steps + 1))


def from_steps(schedule: str) -> tuple[float, str] | None:
    """The learning rate and the schedule of A1111's way to write them; None for what is written in ours.

    "0.05:200, 0.02:400, 0.005" is 0.05 until step 200, then 0.02 until step 400, then 0.005. Raises ValueError.
    """
    if not schedule[:1].isdigit():
        return None
    pieces = [each.partition(":") for each in schedule.split(",")]
    first, *later = [float(rate) for rate, _, _ in pieces]
    ends = [int(end) for _, _, end in pieces[:-1]]
    if first <= 0:
        raise ValueError
    factors = ",".join(f"{end}={rate / first:g}" for end, rate in zip(ends, later, strict=True))
    return first, f"piecewise:{factors}" if factors else "constant"


def check_lr_schedule(schedule: str) -> None:
    """Raises BadInput for a schedule that does not exist or whose argument cannot be read."""
    try:
        schedule = (from_steps(schedule) or (0.0, schedule))[1]
    except ValueError:
        raise BadInput(
            f"{flag('lr_schedule')} is '{schedule}'; write rates with the steps at which they end: 0.05:200, 0.02"
        ) from None
    name, _, argument = schedule.partition(":")
    try:
        if argument and name != "piecewise":
            raise ValueError
        lr_factor(schedule, 0, 1, 0)
    except (KeyError, ValueError):
        plain = ", ".join(name for name in LR_SCHEDULES if name != "piecewise")
        raise BadInput(f"{flag('lr_schedule')} is '{schedule}'; choose {plain}, or piecewise:100=0.5,200=0.1") from None
