"""Intervals against those of the normal and the binomial distribution."""

from __future__ import annotations

import pytest
import torch

from ti_trainer.method.bootstrap import mean_intervals
from ti_trainer.method.randomness import generator

COUNT = 400


def normal(*counters: int) -> torch.Tensor:
    return torch.randn(COUNT, generator=generator(0, *counters), dtype=torch.float64)


def test_interval_of_normal_numbers_is_that_of_the_central_limit() -> None:
    """mean +- 1.96 s / sqrt(N)."""
    values = torch.stack([3 + 2 * normal(1), 0.1 * normal(2) - 5], dim=1)
    low, high = mean_intervals(values, seed=0)
    half = 1.96 * values.std(0, correction=0) / COUNT**0.5
    torch.testing.assert_close(low, values.mean(0) - half, rtol=0, atol=0.05 * half.max().item())
    torch.testing.assert_close((high - low)[1], 2 * half[1], rtol=0.05, atol=0)
    torch.testing.assert_close(high, values.mean(0) + half, rtol=0, atol=0.05 * half.max().item())


def test_interval_of_a_share_is_the_binomials() -> None:
    """12 of 40: the 2.5 % and 97.5 % points of a binomial with p = .3 are 7 and 18, found by adding up its terms."""
    terms = torch.distributions.Binomial(40, torch.tensor(0.3)).log_prob(torch.arange(41.0)).exp()
    below = terms.cumsum(0)
    ends = [int((below < tail).sum()) for tail in (0.025, 0.975)]
    seen = torch.tensor([[1.0]] * 12 + [[0.0]] * 28)
    low, high = mean_intervals(seen, seed=0)
    assert [round(40 * end.item()) for end in (low, high)] == ends


def test_what_both_have_in_common_widens_nothing() -> None:
    """Of two arms that the same conditions move by 10, the difference is known as well as if nothing moved them."""
    conditions = 10 * normal(3)
    first, second = conditions + 0.1 * normal(4) + 0.05, conditions + 0.1 * normal(5)
    low, high = mean_intervals((first - second)[:, None], seed=0)
    assert (high - low).item() == pytest.approx(2 * 1.96 * 0.1 * 2**0.5 / COUNT**0.5, rel=0.15)
    assert low.item() > 0
    apart = mean_intervals((first - second[torch.randperm(COUNT, generator=generator(0, 6))])[:, None], seed=0)
    assert (apart[1] - apart[0]).item() > 50 * (high - low).item()


def test_intervals_are_seeded_and_columns_do_not_matter_to_each_other() -> None:
    values = torch.stack([normal(1), normal(2)], dim=1)
    once, again, other = (mean_intervals(values, seed=seed)[0] for seed in (3, 3, 4))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    torch.testing.assert_close(mean_intervals(values[:, 1:], seed=3)[0], once[1:])
    constant = mean_intervals(torch.full((5, 1), 0.25), seed=0)
    assert [end.item() for end in constant] == pytest.approx([0.25, 0.25])
