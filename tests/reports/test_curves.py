"""Curves are what metrics.jsonl says, without what is no number."""

from __future__ import annotations

import math

import pytest

from ti_trainer.reports.curves import WINDOW, curves_of, smoothed

NAN = math.nan


def record(step: int, loss: float, **more: float) -> dict[str, float]:
    return {"step": step, "loss": loss, "length_ratio": 1.0 + step, "cosine_to_init": math.cos(step / 10), **more}


def test_values_by_step() -> None:
    records = [record(1, 0.5), record(2, NAN, validation_loss=0.3), record(3, 0.25, validation_loss=0.2)]
    curves = curves_of(records, start=0.4, best_step=2)
    assert curves.loss == [(1, 0.5), (3, 0.25)]
    assert curves.measured == [(0, 0.4), (2, 0.3), (3, 0.2)]
    assert curves.best == (2, 0.3)
    assert curves.length == [(1, 2.0), (2, 3.0), (3, 4.0)]
    assert [angle for _, angle in curves.angle] == pytest.approx([math.degrees(step / 10) for step in (1, 2, 3)])
    plain = curves_of(records)
    assert plain.measured == [(2, 0.3), (3, 0.2)]
    assert plain.best is None
    assert curves_of([record(1, 0.5)], 0.4, 0).best == (0, 0.4)
    assert curves_of([{**record(1, 0.5), "cosine_to_init": 1.0000001}]).angle == [(1, 0.0)]


def test_smoothing_is_a_mean_over_neighbours() -> None:
    values = [float(number**2 % 7) for number in range(100)]
    half = round(100 * WINDOW / 2)
    wanted = [sum(some) / len(some) for some in (values[max(0, i - half) : i + half + 1] for i in range(100))]
    assert smoothed(values) == pytest.approx(wanted)
    assert smoothed([2.0]) == [2.0]
    assert smoothed([]) == []
