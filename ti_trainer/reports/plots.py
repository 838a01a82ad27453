"""What a run has measured as curves, and the checkpoints of an evaluation."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.atomic import write_bytes
from .curves import NEAR_A_WORD, Curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_run(curves: Curves, title: str, file: Path) -> None:
    """loss.png: what `run_as_png` draws."""
    write_bytes(run_as_png(curves, title), file)


def run_as_png(curves: Curves, title: str) -> bytes:
    """The training loss, the loss under fixed noise with its best step, and length and angle of the rows."""
    figure = new_figure(10, 7)
    ((training, fixed), (length, angle)) = figure.subplots(2, 2)
    training.plot(*columns(curves.loss), linewidth=0.6, color="tab:blue", alpha=0.35, label="each step")
    training.plot(*columns(curves.smooth), linewidth=1.8, color="tab:blue", label="smoothed")
    training.legend()
    fixed.plot(*columns(curves.measured), marker=".", color="tab:blue", label="measured")
    if curves.best:
        step, loss = curves.best
        fixed.plot(step, loss, marker="*", markersize=14, linestyle="", color="tab:orange", label=f"saved: step {step}")
        fixed.axhline(curves.measured[0][1], linewidth=0.8, linestyle=":", color="grey")
    fixed.legend()
    length.plot(*columns(curves.length), color="tab:green")
    length.axhline(1, linewidth=0.8, linestyle=":", color="grey")
    for near in NEAR_A_WORD:
        length.axhline(near, alpha=0)
    angle.plot(*columns(curves.angle), color="tab:purple")
    training.set(title="training loss (noisy: says little)", xlabel="step")
    fixed.set(title="loss under fixed noise (falls while it learns)", xlabel="step")
    length.set(title="length of the rows (a word's is 1)", xlabel="step")
    angle.set(title="degrees from the start", xlabel="step")
    figure.suptitle(title, parse_math=False)
    return as_png(figure)


def columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    """Points as x and y."""
    return [x for x, _ in points], [y for _, y in points]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches. It is not pyplot's: a notebook's own figures stay as they are."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def as_png(figure: Figure) -> bytes:
    """A figure as a file's content."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def plot_checkpoints(
    steps: Mapping[int, tuple[float, float]],
    named: Mapping[str, tuple[float, float]],
    labels: Sequence[str],
    file: Path,
) -> None:
    """Two measures of a run's checkpoints as a line with its steps, and of other things as points with their names.

    steps, named: (x, y); labels: of x and y.
    """
    figure = new_figure(7, 5)
    axes = figure.subplots()
    axes.plot(*zip(*steps.values(), strict=True), marker=".", linewidth=0.8, color="tab:blue")
    axes.scatter(*zip(*named.values(), strict=True), color="tab:orange", zorder=3)
    for name, place in [*steps.items(), *named.items()]:
        axes.annotate(str(name), place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    write_bytes(as_png(figure), file)
