"""The curves of loss.png against metrics.jsonl, and those of checkpoints against their points."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from ti_trainer import TrainConfig, train
from ti_trainer.reports.plots import plot_checkpoints


def points(line: Any) -> list[tuple[float, float]]:
    return list(zip(line.get_xdata().tolist(), line.get_ydata().tolist(), strict=True))


def keeping_figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """A list in which every figure comes that is saved from now on."""
    figures = []
    save = Figure.savefig

    def savefig(self: Figure, *arguments: Any, **how: Any) -> None:
        figures.append(self)
        save(self, *arguments, **how)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def test_curves_are_the_metrics(make_config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step's training loss and its mean, the loss under fixed noise from step 0 on, lengths and angles."""
    figures = keeping_figures(monkeypatch)
    run = train(make_config(steps=5, validate_every=2, plots=True))
    records = [json.loads(line) for line in (Path(run.folder) / "metrics.jsonl").read_text().splitlines()]
    (figure,) = figures
    training, fixed, length, angle = figure.axes
    each, smooth = training.lines
    losses = [record["loss"] for record in records]
    assert points(each) == list(zip(range(1, 6), losses, strict=True))
    means = [sum(some) / len(some) for some in (losses[max(0, i - 1) : i + 2] for i in range(5))]
    assert [value for _, value in points(smooth)] == pytest.approx(means)
    measured, best, level = fixed.lines
    assert points(measured)[1:] == [(r["step"], r["validation_loss"]) for r in records if "validation_loss" in r]
    assert [step for step, _ in points(measured)] == [0, 2, 4, 5]
    assert points(best) == [point_of(measured, run.best_step)]
    assert best.get_label() == f"saved: step {run.best_step}"
    assert set(level.get_ydata()) == {points(measured)[0][1]}
    assert points(length.lines[0]) == [(record["step"], record["length_ratio"]) for record in records]
    cosines = [math.cos(math.radians(value)) for _, value in points(angle.lines[0])]
    assert cosines == pytest.approx([record["cosine_to_init"] for record in records])
    assert figure.get_suptitle() == "<my-cat> on sd1"
    with Image.open(Path(run.folder) / "loss.png") as picture:
        assert picture.size == (1000, 700)


def point_of(line: Any, step: int) -> tuple[float, float]:
    return next(point for point in points(line) if point[0] == step)


def test_checkpoints_are_a_line_and_others_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = keeping_figures(monkeypatch)
    steps = {0: (0.3, 0.2), 20: (0.25, 0.4), 40: (0.1, 0.5)}
    plot_checkpoints(steps, {"<my-cat>": (0.2, 0.4)}, ["prompt", "identity"], tmp_path / "curve.png")
    (figure,) = figures
    (axes,) = figure.axes
    assert points(axes.lines[0]) == list(steps.values())
    assert axes.collections[0].get_offsets().tolist() == [[0.2, 0.4]]
    names = {text.get_text(): text.xy for text in axes.texts}
    assert names == {"0": (0.3, 0.2), "20": (0.25, 0.4), "40": (0.1, 0.5), "<my-cat>": (0.2, 0.4)}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prompt", "identity")
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (700, 500)
