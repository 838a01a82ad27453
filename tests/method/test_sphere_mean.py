"""Means on a sphere, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ti_trainer.method.sphere_mean import mean_direction, mean_rows


def slerp(one: Tensor, other: Tensor, share: float) -> Tensor:
    """Shoemake 1985: unit vectors one and other (D,) at an angle theta; share: of the other."""
    theta = torch.acos(one @ other)
    return (torch.sin((1 - share) * theta) * one + torch.sin(share * theta) * other) / torch.sin(theta)


def units(count: int, width: int, seed: int = 0) -> Tensor:
    draws = torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return draws / draws.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("theta", [1e-6, 0.3, math.pi / 2, 2.8])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_two_directions_in_a_plane(theta: float, share: float) -> None:
    """At an angle of theta the mean lies at share * theta."""
    two = torch.tensor([[1.0, 0.0, 0.0], [math.cos(theta), math.sin(theta), 0.0]], dtype=torch.float64)
    mean = mean_direction(two, torch.tensor([1 - share, share], dtype=torch.float64))
    wanted = torch.tensor([math.cos(share * theta), math.sin(share * theta), 0.0], dtype=torch.float64)
    torch.testing.assert_close(mean, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_two_sets_of_rows_are_interpolated(share: float) -> None:
    """Spherical linear interpolation of the directions, linear of the lengths; weights need not sum to 1."""
    one, other = units(4, 16, seed=1), units(4, 16, seed=2)
    lengths = torch.tensor([[0.5, 1.0, 2.0, 3.0], [1.5, 1.0, 0.1, 9.0]], dtype=torch.float64)
    rows = torch.stack([one, other]) * lengths[:, :, None]
    found = mean_rows(rows.float(), torch.tensor([3 * (1 - share), 3 * share]))
    assert found.dtype == torch.float32
    for number in range(4):
        length = (1 - share) * lengths[0, number] + share * lengths[1, number]
        wanted = length * slerp(one[number], other[number], share)
        torch.testing.assert_close(found[number].double(), wanted, rtol=1e-5, atol=1e-6)


def test_mean_of_an_orthogonal_frame() -> None:
    """By symmetry the mean of the axes is their diagonal; here also the chord's mean."""
    mean = mean_direction(torch.eye(5, dtype=torch.float64), torch.full((5,), 0.2, dtype=torch.float64))
    torch.testing.assert_close(mean, torch.full((5,), 5**-0.5, dtype=torch.float64))


def test_mean_of_three_has_the_least_squared_angle() -> None:
    """No direction nearby has a smaller weighted sum of squared angles, and the mean of the chords is another one."""
    three = units(3, 6, seed=4)
    shares = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)

    def cost(direction: Tensor) -> float:
        return float((shares * torch.acos(three @ direction).square()).sum())

    mean = mean_direction(three, shares)
    for nudge in units(50, 6, seed=5):
        for size in (1e-3, 0.1):
            near = mean + size * nudge
            assert cost(near / near.norm()) > cost(mean)
    chord = (shares[:, None] * three).sum(0)
    assert cost(chord / chord.norm()) > cost(mean) + 1e-4


def test_what_has_no_mean() -> None:
    up = torch.tensor([[[0.0, 2.0]]])
    half = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match="opposite directions"):
        mean_rows(torch.cat([up, -up]), half)
    with pytest.raises(ValueError, match="row of zeros"):
        mean_rows(torch.cat([up, 0 * up]), half)
    for weights in ([-1.0, 2.0], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0]):
        with pytest.raises(ValueError, match="0 or more"):
            mean_rows(torch.cat([up, up]), torch.tensor(weights))
