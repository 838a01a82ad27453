"""What a notebook shows while a run goes on: its curves and its newest previews, in the output of the cell."""

from __future__ import annotations

from typing import Any

from ..reports.curves import curves_of
from ..reports.notebook_view import as_html
from ..reports.plots import run_as_png
from .events import Event, Finished, Measured, PreviewDrawn, StepDone
from .pace import Pace

PAUSE = 2.0  # seconds between two pictures at least,
SHARE = 0.03  # and of the time that drawing them may take


class LiveDisplay:
    """A callback for notebooks: `train(config, [LiveDisplay()])`; several runs are shown one below the other.

    It needs IPython, which every notebook has.
    """

    def __init__(self, pause: float = PAUSE) -> None:
        """pause: seconds between two pictures at least."""
        self.pause = pause
        self.shown: dict[str, Display] = {}

    def __call__(self, event: Event) -> None:
        if event.run not in self.shown:
            self.shown[event.run] = Display(event.run, Pace(self.pause, SHARE))
        display = self.shown[event.run]
        display.hear(event)
        if display.records and (isinstance(event, Finished) or display.pace.is_due):
            with display.pace.doing():
                display.draw()


class Display:
    """One run's part of a cell's output."""

    def __init__(self, name: str, pace: Pace) -> None:
        self.name = name
        self.pace = pace
        self.handle: Any = None
        self.records: list[dict[str, Any]] = []
        self.start = float("inf")  # loss under fixed noise at step 0
        self.best_step: int | None = None
        self.previews: bytes | None = None

    def hear(self, event: Event) -> None:
        """Take note of what has happened."""
        if isinstance(event, StepDone):
            self.records.append(dict(event.record))
        elif isinstance(event, Measured) and event.step == 0:
            self.start = event.loss
        elif isinstance(event, PreviewDrawn):
            self.previews = event.file.read_bytes()
        elif isinstance(event, Finished):
            self.records = event.result.history  # of a run that went on, all
            self.best_step = event.result.best_step

    def draw(self) -> None:
        """Show what is known by now, in place of what was shown before."""
        from IPython.display import HTML, display

        curves = curves_of(self.records, self.start, self.best_step)
        pictures = [run_as_png(curves, self.name), *([self.previews] if self.previews else [])]
        step, loss = curves.smooth[-1]
        content = HTML(as_html([f"{self.name}: step {step}, loss {loss:.5f}"], pictures))
        if self.handle is None:
            self.handle = display(content, display_id=True)
        else:
            self.handle.update(content)
