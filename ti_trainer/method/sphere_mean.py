"""Means on a sphere: rows between other rows, as long as these."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_ROUNDS = 200
CONVERGED = 1e-12  # radians


def mean_rows(rows: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of K sets of rows, row by row: (K, n, D), (K,) -> (n, D) of the rows' type.

    The direction is `mean_direction`'s, and the length is the weighted mean of the lengths. Raises ValueError for a
    row of zeros and for weights that are negative or all zero.
    """
    exact = rows.double()
    shares = weights.double()
    if not (shares >= 0).all() or not 0 < shares.sum() < float("inf"):
        raise ValueError("weights have to be 0 or more, and one of them more than 0")
    shares = shares / shares.sum()
    lengths = exact.norm(dim=2, keepdim=True)  # (K, n, 1)
    if not lengths.all():
        raise ValueError("a row of zeros has no direction")
    directions = exact / lengths
    means = torch.stack([mean_direction(own, shares) for own in directions.unbind(1)])  # (n, D)
    return ((shares[:, None, None] * lengths).sum(0) * means).to(rows.dtype)  # (n, D)


def mean_direction(directions: Tensor, shares: Tensor) -> Tensor:
    """The unit vector of least weighted squared angle to unit vectors: (K, D), (K,) -> (D,), float64.

    shares: they sum to 1. It is the mean of Karcher (1977, "Riemannian center of mass and mollifier smoothing"), found
    by algorithm A1 of Buss & Fillmore 2001 ("Spherical averages and applications to spherical splines and
    interpolation"): step along the weighted mean of the directions' logarithms. Of two it is their spherical linear
    interpolation (Shoemake 1985). Raises ValueError where there is no such vector: opposite directions, of which
    infinitely many lie in the middle.
    """
    straight = (shares[:, None] * directions).sum(0)  # (D,)
    if straight.norm() < 1e-6:
        raise ValueError("rows of opposite directions have no mean")
    mean = straight / straight.norm()
    for _ in range(MOST_ROUNDS):
        step = (shares[:, None] * logarithms(directions, mean)).sum(0)  # (D,)
        angle = step.norm()
        if angle < CONVERGED:
            return mean
        mean = angle.cos() * mean + angle.sin() * step / angle
        mean = mean / mean.norm()
    raise ValueError("rows in almost opposite directions have no mean that can be found")


def logarithms(directions: Tensor, mean: Tensor) -> Tensor:
    """From a unit vector (D,) the way to each of others (K, D): tangents (K, D) whose lengths are the angles."""
    cosines = directions @ mean  # (K,)
    tangents = directions - cosines[:, None] * mean  # (K, D)
    sines = tangents.norm(dim=1)  # (K,)
    angles = torch.atan2(sines, cosines)  # (K,)
    # towards the vector itself there is no way to go
    return torch.where(sines > 0, angles / sines.clamp(min=1e-300), 1.0)[:, None] * tangents  # (K, D)
