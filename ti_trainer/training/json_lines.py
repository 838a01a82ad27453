"""What goes on, for programs: one JSON object a line, on the standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from ..config.config import TrainConfig
from ..errors import code_of
from ..files.wording import told
from ..runs.folder import RunFolder
from ..runs.manifest import finite
from .console import Silence
from .events import Event, Measured, PreviewDrawn, StepDone
from .learner import Learner
from .memory.plan import MemoryPlan

EVERY = 1.0  # seconds between two lines about the steps of a run


class JsonLines(Silence):
    """A console, and a callback of the same job. `event` says what each line is.

    expected (concepts), started, step (at most one a second of each run), measured, preview, passed, finished, failed,
    note, done. `seconds` counts from the beginning, and `columns` are those of the concept's row.
    """

    def __init__(self) -> None:
        self.stream = sys.stdout  # its own, whatever is put in its place later
        self.begun = time.perf_counter()
        self.shown: dict[str, float] = {}  # when the last step of a run was written
        self.finished_runs = 0
        self.failed_runs = 0

    def write(self, event: str, **about: Any) -> None:
        seconds = round(time.perf_counter() - self.begun, 3)
        line = json.dumps(finite({"event": event, "seconds": seconds, **about}), allow_nan=False)
        self.stream.write(line + "\n")  # in one piece: other processes write too
        self.stream.flush()

    def __call__(self, event: Event) -> None:
        match event:
            case StepDone():
                now = time.perf_counter()
                if now - self.shown.get(event.run, float("-inf")) >= EVERY:
                    self.shown[event.run] = now
                    self.write("step", run=event.run, step=event.step, **of_a_step(event.record))
            case Measured():
                self.write("measured", run=event.run, step=event.step, loss=event.loss, best_step=event.best_step)
            case PreviewDrawn():
                files = [str(file) for file in event.pictures]
                self.write("preview", run=event.run, step=event.step, pictures=files)

    def expect(self, count: int) -> None:
        if count:
            self.write("expected", concepts=count)

    def begin(self, learner: Learner, plan: MemoryPlan) -> None:
        config = learner.config
        self.write("started", **of_a_run(config), step=learner.step, steps=config.steps, memory=plan.peak)

    def say(self, text: str) -> None:
        self.write("note", text=text)

    def note(self, warning: str) -> None:
        self.write("note", text=warning, warning=True)

    def passed(self, name: str, why: str) -> None:
        self.write("passed", run=name, why=why)

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None:
        self.finished_runs += 1
        self.shown.pop(folder.name, None)
        about = {"step": learner.step, "best_step": learner.best_step, "peak": peak}
        self.write(
            "finished",
            **of_a_run(learner.config),
            **about,
            embedding=str(folder.place(folder.files.embedding)),
        )

    def failed(self, name: str, problem: Exception, columns: Mapping[str, Any] | None = None) -> None:
        self.failed_runs += 1
        self.shown.pop(name, None)
        self.write("failed", run=name, columns=dict(columns or {}), code=code_of(problem), reason=told(problem))

    def close(self) -> None:
        self.write("done", finished=self.finished_runs, failed=self.failed_runs)


def of_a_run(config: TrainConfig) -> dict[str, Any]:
    return {"run": config.run_name, "token": config.concept.trigger, "columns": dict(config.origin.columns)}


def of_a_step(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a line says of a step; record: a line of metrics.jsonl."""
    return {name: record[name] for name in ("loss", "lr", "validation_loss") if name in record}
