"""How sure a mean is: intervals by drawing again from what was measured."""

from __future__ import annotations

import torch
from torch import Tensor

from .randomness import generator

LEVEL = 0.95  # the share of such intervals that hold the true mean
RESAMPLES = 10_000
AT_ONCE = 1_000  # resamples


def mean_intervals(values: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The lower and upper ends of an interval around the mean of each column of values (N, M); both (M,).

    They are percentiles of the means of N rows that are drawn with replacement (Efron and Tibshirani 1993, chapter
    13). Two things that were measured under the same N conditions are compared by the column of their differences: what
    is hard or easy for both then widens nothing.
    """
    draws = generator(seed, "bootstrap")
    count = len(values)
    means = []
    for _ in range(RESAMPLES // AT_ONCE):
        rows = torch.randint(count, (AT_ONCE, count), generator=draws)
        ones = torch.ones_like(rows, dtype=values.dtype)
        times = torch.zeros_like(ones).scatter_add_(1, rows, ones)  # (AT_ONCE, N): how often each row was drawn
        means.append(times @ values / count)  # (AT_ONCE, M)
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=values.dtype)
    low, high = torch.cat(means).quantile(tails, dim=0)  # (M,) each
    return low, high
