"""What metrics.jsonl says of a run, as curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Points = list[tuple[int, float]]  # step, value

NEAR_A_WORD = (0.9, 1.1)  # lengths that are always in sight, so that rounding errors look like what they are
WINDOW = 0.1  # of all steps, over which the training loss is averaged


@dataclass(frozen=True)
class Curves:
    """The values of a run by step."""

    loss: Points
    smooth: Points  # the loss without most of its noise
    measured: Points  # the loss under fixed noise, that of step 0 included
    best: tuple[int, float] | None  # the step whose rows are saved, with that loss
    length: Points  # of the rows, in units of a word's
    angle: Points  # between the rows and their start, degrees


def curves_of(records: Sequence[Mapping[str, Any]], start: float = math.inf, best_step: int | None = None) -> Curves:
    """The curves of a run.

    records: lines of metrics.jsonl; start: the loss under fixed noise at step 0, infinite where nobody has measured it.
    """
    loss = points(records, "loss")
    measured = ([(0, start)] if math.isfinite(start) else []) + points(records, "validation_loss")
    found = [point for point in measured if point[0] == best_step]
    cosines = points(records, "cosine_to_init")
    return Curves(
        loss=loss,
        smooth=list(zip([step for step, _ in loss], smoothed([value for _, value in loss]), strict=True)),
        measured=measured,
        best=found[0] if found else None,
        length=points(records, "length_ratio"),
        angle=[(step, math.degrees(math.acos(max(-1.0, min(1.0, cosine))))) for step, cosine in cosines],
    )


def points(records: Sequence[Mapping[str, Any]], name: str) -> Points:
    """The finite values of one name, and their steps."""
    return [(each["step"], each[name]) for each in records if math.isfinite(each.get(name, math.nan))]


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours, WINDOW of all together; fewer at the ends."""
    half = max(1, round(len(values) * WINDOW / 2))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    means: list[float] = ((sums[last] - sums[first]) / (last - first)).tolist()
    return means
