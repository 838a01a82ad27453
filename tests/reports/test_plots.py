"""The curves of loss.png against metrics.jsonl, and those of checkpoints against their points."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from ti_trainer import TrainConfig, train
from ti_trainer.reports.plots import plot_checkpoints


def points(line: Any) -> list[tuple[float, float]]:
    return list(zip(line.get_xdata().tolist(), line.get_ydata().tolist(), strict=True))


def test_curves_are_the_metrics(make_config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    """Left every step's training loss, right what was measured under fixed noise, called by the token."""
    figures: list[Any] = []
    close = plt.close
    monkeypatch.setattr(plt, "close", figures.append)  # keeps the figure that was saved
    run = train(make_config(steps=5, validate_every=2, plots=True))
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


def test_checkpoints_are_a_line_and_others_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    close = plt.close
    monkeypatch.setattr(plt, "close", figures.append)
    steps = {0: (0.3, 0.2), 20: (0.25, 0.4), 40: (0.1, 0.5)}
    plot_checkpoints(steps, {"<my-cat>": (0.2, 0.4)}, ["prompt", "identity"], tmp_path / "curve.png")
    (figure,) = figures
    (axes,) = figure.axes
    assert points(axes.lines[0]) == list(steps.values())
    assert axes.collections[0].get_offsets().tolist() == [[0.2, 0.4]]
    names = {text.get_text(): text.xy for text in axes.texts}
    assert names == {"0": (0.3, 0.2), "20": (0.25, 0.4), "40": (0.1, 0.5), "<my-cat>": (0.2, 0.4)}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prompt", "identity")
    close(figure)
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (700, 500)
