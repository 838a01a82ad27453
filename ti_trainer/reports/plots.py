"""The losses of a run as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def plot_losses(records: Sequence[Mapping[str, Any]], file: Path) -> None:
    """The training loss and the fixed-noise loss of every concept; records: lines of metrics.jsonl."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for token in dict.fromkeys(record["token"] for record in records):
        own = [record for record in records if record["token"] == token]
        left.plot([r["step"] for r in own], [r["loss"] for r in own], linewidth=0.6, label=token)
        measured = [r for r in own if "validation_loss" in r]
        right.plot([r["step"] for r in measured], [r["validation_loss"] for r in measured], marker=".", label=token)
    left.set(title="training loss (noisy: says little)", xlabel="step")
    right.set(title="loss under fixed noise (falls while it learns)", xlabel="step")
    right.legend()
    figure.savefig(file, dpi=100)
    plt.close(figure)


def plot_checkpoints(
    steps: Mapping[int, tuple[float, float]],
    named: Mapping[str, tuple[float, float]],
    labels: Sequence[str],
    file: Path,
) -> None:
    """Two measures of a run's checkpoints as a line with its steps, and of other things as points with their names.

    steps, named: (x, y); labels: of x and y.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    axes.plot(*zip(*steps.values(), strict=True), marker=".", linewidth=0.8, color="tab:blue")
    axes.scatter(*zip(*named.values(), strict=True), color="tab:orange", zorder=3)
    for name, place in [*steps.items(), *named.items()]:
        axes.annotate(str(name), place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    figure.savefig(file, dpi=100)
    plt.close(figure)
