"""The losses of a run as curves."""

from __future__ import annotations

from ..runs.folder import RunFolder


def plot_losses(folder: RunFolder) -> None:
    """Write loss.png: the training loss of each concept at the left, its fixed-noise loss at the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = folder.read_metrics()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for token in dict.fromkeys(record["token"] for record in records):
        own = [record for record in records if record["token"] == token]
        left.plot([r["step"] for r in own], [r["loss"] for r in own], linewidth=0.6, label=token)
        measured = [r for r in own if "validation_loss" in r]
        right.plot([r["step"] for r in measured], [r["validation_loss"] for r in measured], marker=".", label=token)
    left.set(title="training loss (noisy: says little)", xlabel="step")
    right.set(title="loss under fixed noise (falls while it learns)", xlabel="step")
    right.legend()
    figure.savefig(folder.loss_plot, dpi=100)
    plt.close(figure)
