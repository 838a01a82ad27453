"""Callbacks for tests that look at the lines of metrics.jsonl alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ti_trainer.training.events import Callback, Event, StepDone


def on_step(look: Callable[[Mapping[str, Any]], object]) -> Callback:
    """A callback that gives `look` each line, and leaves other events alone."""

    def callback(event: Event) -> None:
        if isinstance(event, StepDone):
            look(event.record)

    return callback
