"""When something is due again, by a clock of the test's own."""

from __future__ import annotations

import pytest

from ti_trainer.training import pace
from ti_trainer.training.pace import Pace


class Clock:
    """Stands where `time` is."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(("takes", "until"), [(0.01, 2.0), (1.0, 10.0)])
def test_what_takes_long_is_done_seldom(monkeypatch: pytest.MonkeyPatch, takes: float, until: float) -> None:
    """After 2 seconds at least, and after 10 where one second may be a tenth of the time; the first time at once."""
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    own = Pace(pause=2.0, share=0.1)
    assert own.is_due
    with own.doing():
        clock.now += takes
    done = clock.now
    clock.now = done + until - 0.01
    assert not own.is_due
    clock.now = done + until + 0.01
    assert own.is_due
