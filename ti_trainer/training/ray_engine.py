"""A list of concepts on a Ray cluster: workers with one model each ask a desk for what to train next.

The desk remembers who has what. What a worker had that died is handed out again, to go on from its last checkpoint
where the disk is shared, and otherwise from its start.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayError

from ..config.config import TrainConfig
from ..config.inbox import Arrived
from ..config.rows import Refusal
from ..config.together import check_together
from ..errors import Bug, Incomplete, Interrupted, Recorded, code_of
from ..files.wording import flag, told
from ..runs.folder import RunFolder
from .console import Console, Silence
from .jobs import summary, train_all
from .learner import Learner
from .lookup import look_up, record_refusals
from .signals import StopSignals

AHEAD = 4  # concepts that a worker asks for at once; it asks again when these have a seat
PAUSE = 0.2  # seconds between two questions
MOST_DEATHS = 3  # of workers that had a concept, after which it is the concept that kills them


@dataclass(frozen=True)
class End:
    """What has become of a concept."""

    name: str
    problem: str | None = None  # why it was not learned
    code: str = ""  # of the problem, see errors.py


@dataclass
class Desk:
    """Hands out concepts; an actor of Ray's, so that one question after the other is answered."""

    waiting: deque[TrainConfig]
    taken: dict[str, tuple[int, TrainConfig]] = field(default_factory=dict)  # by name: whose, and what
    ended: list[End] = field(default_factory=list)
    deaths: dict[str, int] = field(default_factory=dict)

    def take(self, worker: int) -> list[TrainConfig]:
        """What a worker is to train next."""
        configs = [self.waiting.popleft() for _ in range(min(AHEAD, len(self.waiting)))]
        self.taken |= {config.run_name: (worker, config) for config in configs}
        return configs

    def is_open(self) -> bool:
        """Whether there may be more: what others are at comes back when they die."""
        return bool(self.waiting or self.taken)

    def end(self, end: End) -> None:
        """A concept is done with."""
        if self.taken.pop(end.name, None):
            self.ended.append(end)

    def bury(self, worker: int) -> list[str]:
        """Hand out again what a worker had that has died; returns the names."""
        lost = [config for owner, config in self.taken.values() if owner == worker]
        for config in lost:
            name = config.run_name
            del self.taken[name]
            self.deaths[name] = self.deaths.get(name, 0) + 1
            if self.deaths[name] >= MOST_DEATHS:
                self.ended.append(End(name, f"{MOST_DEATHS} workers have died while they had it", Bug.code))
            else:
                goes_on = not config.overwrite or RunFolder(config).checkpoints.steps() != []
                self.waiting.appendleft(replace(config, resume=goes_on, overwrite=not goes_on))
        return [config.run_name for config in lost]

    def news(self, known: int) -> list[End]:
        """What has ended since so many had."""
        return self.ended[known:]


@dataclass(frozen=True)
class Handed:
    """What a worker is handed by the desk, as arrivals of its job."""

    desk: Any
    worker: int
    example: TrainConfig
    pause: float = PAUSE

    @property
    def is_open(self) -> bool:
        return bool(ray.get(self.desk.is_open.remote()))

    def take(self) -> Arrived:
        return Arrived(ray.get(self.desk.take.remote(self.worker)))


class Reporting(Silence):
    """A console that tells the desk what becomes of each concept."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk

    def passed(self, name: str, why: str) -> None:
        ray.get(self.desk.end.remote(End(name)))

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None:
        ray.get(self.desk.end.remote(End(folder.name)))

    def failed(self, name: str, problem: Exception, columns: Mapping[str, Any] | None = None) -> None:
        ray.get(self.desk.end.remote(End(name, told(problem), code_of(problem))))


def work(desk: Any, worker: int, example: TrainConfig) -> None:
    """What a worker does until the desk has nothing more."""
    with suppress(Incomplete):  # the desk knows it, by name
        train_all([], console=Reporting(desk), arrivals=Handed(desk, worker, example))


def train_on_ray(
    configs: Sequence[TrainConfig], refused: Sequence[Refusal], console: Console, workers: int | None = None
) -> None:
    """Learn a list of concepts on the cluster of RAY_ADDRESS or, without one, with workers of this machine.

    workers: how many, by default one for each GPU or, where there is none, each processor. Raises as `train_all`.
    """
    if configs or not refused:
        check_together(configs)
    found = look_up(configs, refused)
    record_refusals(refused, found)
    console.expect(len(configs) + len(refused))
    for name, problem in found.failures.items():
        console.failed(name, problem, found.columns.get(name))
    failures = dict(found.failures)
    if found.ready:
        is_ours = not ray.is_initialized()
        quiet: dict[str, Any] = {"log_to_driver": False, "include_dashboard": False, "logging_level": logging.ERROR}
        logging.getLogger("ray").setLevel(logging.ERROR)  # what it says before it has read its settings
        ray.init(os.environ.get("RAY_ADDRESS"), ignore_reinit_error=True, **quiet)
        try:
            with redirect_stdout(sys.stderr):  # Ray tells there of workers that die; the console has its own stream
                failures |= Crew(found.ready, console, workers).run()
        finally:
            console.close()
            if is_ours:
                ray.shutdown()
    if failures:
        raise summary(failures, len(configs) + len(refused))


class Crew:
    """The workers, each of which is replaced when it dies."""

    def __init__(self, configs: Sequence[TrainConfig], console: Console, workers: int | None) -> None:
        self.configs = {config.run_name: config for config in configs}
        self.example = configs[0]
        self.console = console
        self.desk: Any = ray.remote(num_cpus=0)(Desk).remote(deque(configs))
        have = ray.cluster_resources()
        self.gpus = 1 if have.get("GPU", 0) >= 1 else 0
        self.count = min(workers or int(have["GPU" if self.gpus else "CPU"]), len(configs))
        self.numbers = 0  # of workers so far
        self.crew: dict[Any, int] = {}  # by what Ray promises of each
        self.known = 0  # ends that were told
        self.failures: dict[str, Exception] = {}

    def hire(self) -> None:
        task = ray.remote(work).options(num_cpus=1, num_gpus=self.gpus, max_retries=0)
        self.crew[task.remote(self.desk, self.numbers, self.example)] = self.numbers
        self.numbers += 1

    def run(self) -> dict[str, Exception]:
        """Until all is done; returns the problems by name."""
        for _ in range(self.count):
            self.hire()
        with StopSignals() as signals:
            while self.crew and not signals.is_wished:
                done, _ = ray.wait(list(self.crew), timeout=PAUSE)
                for promise in done:
                    self.see_off(promise)
                self.tell()
            if signals.is_wished and self.crew:
                self.send_home()
                raise Interrupted(
                    f"stopped, and everything is saved; to go on: the same again with {flag('resume', True)}",
                    signals.received or 0,
                )
        self.tell()
        return self.failures

    def see_off(self, promise: Any) -> None:
        """A worker has come to its end; what one has left undone is handed to another."""
        number = self.crew.pop(promise)
        try:
            ray.get(promise)
        except RayError as problem:
            lost = ray.get(self.desk.bury.remote(number))
            self.console.note(f"worker {number} has died ({type(problem).__name__}); it had {len(lost)} concepts")
            if ray.get(self.desk.is_open.remote()):
                self.hire()

    def tell(self) -> None:
        """Tell what has ended since the last time."""
        for end in ray.get(self.desk.news.remote(self.known)):
            self.known += 1
            if end.problem is None:
                self.console.passed(end.name, "is done")
            else:
                self.failures[end.name] = Recorded(end.problem, end.code)
                self.console.failed(end.name, self.failures[end.name], self.configs[end.name].origin.columns)

    def send_home(self, seconds: float = 60.0) -> None:
        """Let the workers save and end."""
        for promise in self.crew:
            ray.cancel(promise, force=False)
        until = time.monotonic() + seconds
        while self.crew and time.monotonic() < until:
            done, _ = ray.wait(list(self.crew), timeout=PAUSE)
            for promise in done:
                self.crew.pop(promise)
