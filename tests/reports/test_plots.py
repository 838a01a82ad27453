"""The curves of loss.png against metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from ti_trainer import TrainConfig, train


def points(line: Any) -> list[tuple[float, float]]:
    return list(zip(line.get_xdata().tolist(), line.get_ydata().tolist(), strict=True))


def test_curves_are_the_metrics(make_config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    """Left every step's training loss, right what was measured under fixed noise, called by the token."""
    figures: list[Any] = []
    close = plt.close
    monkeypatch.setattr(plt, "close", figures.append)  # keeps the figure that was saved
    run = train(make_config(steps=5, validate_every=2))
    records = [json.loads(line) for line in (Path(run.folder) / "metrics.jsonl").read_text().splitlines()]
    (figure,) = figures
    (training, fixed) = figure.axes
    (curve,) = training.lines
    assert points(curve) == [(record["step"], record["loss"]) for record in records]
    assert [step for step, _ in points(curve)] == [1, 2, 3, 4, 5]
    (curve,) = fixed.lines
    measured = [(record["step"], record["validation_loss"]) for record in records if "validation_loss" in record]
    assert points(curve) == measured
    assert [step for step, _ in measured] == [2, 4, 5]
    assert curve.get_label() == "<my-cat>"
    close(figure)
    with Image.open(Path(run.folder) / "loss.png") as picture:
        assert picture.size == (1000, 400)
