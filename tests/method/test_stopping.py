"""When a loss has stopped falling, on losses whose course is known."""

from __future__ import annotations

import pytest

from ti_trainer.method.stopping import Progress


def last_progress(losses: list[float]) -> int:
    """The number of the last loss that counted; the first is that of step 0."""
    progress = Progress()
    progress.begin(losses[0])
    for step, loss in enumerate(losses[1:], start=1):
        progress.measure(step, loss)
    return progress.step


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ([1.0, 0.5, 0.25, 0.125], 3),
        ([1.0, 0.5, 0.46, 0.45], 1),  # .04 of .54, then .05 of .55
        ([1.0, 0.5, 0.46, 0.44], 3),  # .06 of .56, since the last that counted
        ([1.0, 1.0, 1.0], 0),
        ([1.0, 2.0, 1.5], 0),
        ([1.0, 2.0, 0.99], 2),
        ([1.0, 0.5, 0.9, 0.5, 0.4], 4),
    ],
)
def test_a_measurement_counts_by_its_part_of_the_whole_fall(losses: list[float], step: int) -> None:
    assert last_progress(losses) == step


def test_the_scale_of_the_loss_does_not_matter() -> None:
    losses = [3.0, 2.0, 1.6, 1.5, 1.47, 1.3]
    for scale, offset in ((1e-4, 0.06), (50.0, 2.0)):
        assert last_progress([offset + scale * loss for loss in losses]) == last_progress(losses) == 5


def test_exponential_decay_ends_within_a_tenth() -> None:
    """Where losses fall by the factor q each time, no more than .1 / (1 - q) was left to gain when one last counted."""
    for q in (0.3, 0.6, 0.8):
        step = last_progress([q**number for number in range(100)])
        assert q**step <= 0.1 / (1 - q)
