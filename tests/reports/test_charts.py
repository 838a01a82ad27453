"""Places in a chart against the values that they stand for."""

from __future__ import annotations

import pytest

from ti_trainer.reports.charts import BOTTOM, HEIGHT, LEFT, MOST_POINTS, RIGHT, TOP, WIDTH, Scale, charts_of, thinned
from ti_trainer.reports.curves import curves_of


def test_points_are_in_their_places() -> None:
    """Ticks say which value a place has; every point lies where the ticks would put it, and inside the chart."""
    records = [
        {"step": step, "loss": 1 / step, "validation_loss": 2 / step, "length_ratio": 1.2, "cosine_to_init": 0.5}
        for step in (1, 2, 4, 8)
    ]
    charts = charts_of(curves_of(records, start=3.0, best_step=8))
    assert [chart.title.split()[0] for chart in charts] == ["Training", "Loss", "Length", "Degrees"]
    fixed = charts[1]
    (x0, first), (x1, last) = fixed.across[0], fixed.across[-1]
    (y0, low), (y1, high) = fixed.up[0], fixed.up[-1]
    for (x, y), (step, value) in zip(
        (tuple(map(float, point.split(","))) for point in fixed.lines[0].points.split()),
        [(0, 3.0), (1, 2.0), (2, 1.0), (4, 0.5), (8, 0.25)],
        strict=True,
    ):
        assert x == pytest.approx(x0 + (step - float(first)) / (float(last) - float(first)) * (x1 - x0), abs=0.06)
        assert y == pytest.approx(y0 + (value - float(low)) / (float(high) - float(low)) * (y1 - y0), abs=0.06)
        assert LEFT <= x <= WIDTH - RIGHT
        assert TOP <= y <= HEIGHT - BOTTOM
    assert [mark.style for mark in fixed.marks] == ["dot"] * 5 + ["best"]
    assert (fixed.marks[-1].x, fixed.marks[-1].y) == (fixed.marks[-2].x, fixed.marks[-2].y)
    assert "step 8" in fixed.marks[-1].text
    assert fixed.lines[1].style == "dotted"
    assert len({point.split(",")[1] for point in fixed.lines[1].points.split()}) == 1


def test_nothing_is_known_yet() -> None:
    assert charts_of(curves_of([])) == []


@pytest.mark.parametrize(("low", "high"), [(0, 100), (0.2, 0.21), (1, 1), (0, 0), (-3e-9, 5e-9), (1e6, 3e6)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    scale = Scale([low, high], 0, 100)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 9
    assert all(-0.01 <= scale(tick) <= 100.01 for tick in ticks)
    assert all(len(f"{tick:g}") <= 9 for tick in ticks)


def test_long_lines_are_thinned() -> None:
    points = [(step, float(step)) for step in range(10_001)]
    found = thinned(points)
    assert len(found) < 1.1 * MOST_POINTS
    assert (found[0], found[-1]) == (points[0], points[-1])
    assert thinned(points[:3]) == points[:3]
    assert thinned([]) == []
