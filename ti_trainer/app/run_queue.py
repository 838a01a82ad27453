"""Runs one after the other, in a thread of the server: they go on whoever looks at the page, and show all the same."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config.config import TrainConfig
from ..errors import Interrupted
from ..files.wording import told
from ..reports.curves import curves_of
from ..reports.plots import run_as_png
from ..reports.previews import Progress
from ..runs.folder import RunFolder
from ..training.console import Silence
from ..training.events import Event, Finished, Measured, PreviewDrawn, StepDone
from ..training.jobs import train
from ..training.learner import Learner
from ..training.memory.plan import MemoryPlan
from ..training.pace import Pace

MOST_NOTES = 20
WAITING, RUNNING, FINISHED, STOPPED, FAILED = "waiting", "running", "finished", "stopped", "failed"


@dataclass
class Job:
    """A run that was asked for, and what is known of it."""

    config: TrainConfig
    state: str = WAITING
    doing: str = ""  # what takes a while just now
    step: int = 0
    started: float = 0.0  # by time.perf_counter(), when its first step of this attempt was begun
    first_step: int = 0
    notes: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_NOTES))
    problem: str = ""
    records: list[dict[str, Any]] = field(default_factory=list)
    start: float = float("inf")  # loss under fixed noise at step 0
    stop: threading.Event = field(default_factory=threading.Event)
    plot: bytes | None = None
    pace: Pace = field(default_factory=lambda: Pace(2.0, 0.03))

    @property
    def name(self) -> str:
        return self.config.run_name

    @property
    def folder(self) -> Path:
        return RunFolder(self.config).path

    @property
    def seconds_left(self) -> float | None:
        """None where nobody can tell."""
        done = self.step - self.first_step
        if self.state != RUNNING or done <= 0:
            return None
        return (self.config.steps - self.step) * (time.perf_counter() - self.started) / done

    def line(self) -> str:
        """How it stands."""
        steps = f"step {self.step} of {self.config.steps}"
        if self.state == WAITING:
            return "waits for the runs before it"
        if self.state == RUNNING:
            left = self.seconds_left
            parts = [steps if self.step else "preparing", *([f"about {duration(left)} left"] if left else [])]
            losses = [record["loss"] for record in self.records[-20:] if "loss" in record]
            parts += [f"loss {sum(losses) / len(losses):.5f}"] if losses else []
            return ", ".join([*parts, *([self.doing] if self.doing else [])])
        ended = {FINISHED: f"learned, {steps}", STOPPED: f"stopped at {steps}; it can go on"}
        return ended.get(self.state, self.problem)

    def hear(self, event: Event) -> None:
        """Take note of what has happened; called in the thread of the run."""
        match event:
            case StepDone():
                if not self.started:
                    self.started, self.first_step = time.perf_counter(), event.step - 1
                self.step = event.step
                self.records.append(dict(event.record))
            case Measured() if event.step == 0:
                self.start = event.loss
            case Finished():
                self.records = event.result.history
        if self.records and (isinstance(event, (Finished, PreviewDrawn)) or self.pace.is_due):
            with self.pace.doing():
                self.plot = run_as_png(curves_of(self.records, self.start), self.name)


class JobConsole(Silence):
    """What a run says, kept for the page."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def begin(self, learner: Learner, plan: MemoryPlan) -> None:
        self.job.step = learner.step

    @contextmanager
    def drawing(self, what: str, work: int) -> Iterator[Progress]:
        self.job.doing = what
        try:
            yield lambda count: None
        finally:
            self.job.doing = ""

    def say(self, text: str) -> None:
        self.job.notes.append(text)

    def note(self, warning: str) -> None:
        self.job.notes.append(f"note: {warning}")


class RunQueue:
    """Trains what was asked for in its order; its methods may be called from any thread."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="runs", daemon=True)
        self._thread.start()

    def add(self, config: TrainConfig) -> Job:
        """Ask for a run; it begins when those before it have ended."""
        job = Job(config)
        with self._lock:
            self.jobs.append(job)
        self._wake.set()
        return job

    def stop(self, name: str) -> None:
        """End the run of this name, saved, or forget it where it still waits."""
        for job in self.open_jobs():
            if job.name == name:
                job.stop.set()
        self._wake.set()

    def open_jobs(self) -> list[Job]:
        """Those that wait or run."""
        with self._lock:
            return [job for job in self.jobs if job.state in (WAITING, RUNNING)]

    def at_work(self) -> Job | None:
        """The run that is being trained."""
        return next((job for job in self.open_jobs() if job.state == RUNNING), None)

    def latest(self) -> Mapping[str, Job]:
        """The last job of each run, by its name."""
        with self._lock:
            return {job.name: job for job in self.jobs}

    def forget(self, name: str) -> None:
        """Show nothing more of a run that has ended."""
        with self._lock:
            self.jobs = [job for job in self.jobs if job.name != name or job.state in (WAITING, RUNNING)]

    def close(self, seconds: float = 60.0) -> None:
        """Stop everything; what runs is saved."""
        self._closed = True
        for job in self.open_jobs():
            job.stop.set()
        self._wake.set()
        self._thread.join(seconds)

    def _work(self) -> None:
        while not self._closed:
            job = next((job for job in self.open_jobs() if job.state == WAITING), None)
            if job is None:
                self._wake.wait()
                self._wake.clear()
            elif job.stop.is_set():
                job.state = STOPPED
            else:
                self._run(job)

    def _run(self, job: Job) -> None:
        job.state = RUNNING
        try:
            train(job.config, [job.hear], stop=job.stop, console=JobConsole(job))
        except Interrupted:
            job.state = STOPPED
        except Exception as problem:  # of any kind: the page tells it, and the next run is trained
            job.problem = told(problem)
            job.state = FAILED
        else:
            job.step = job.records[-1]["step"] if job.records else job.step
            job.state = FINISHED


def duration(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
