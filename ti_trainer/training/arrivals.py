"""Concepts that come while a job goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

from ..config.config import TrainConfig
from ..config.inbox import Arrived
from .console import Console
from .endings import Endings
from .lookup import FEW, look_up
from .pace import Pace


class Arrivals(Protocol):
    """Where further concepts of a job come from, such as an `Inbox`."""

    @property
    def example(self) -> TrainConfig:
        """A config with what all of them have in common, such as the model."""

    @property
    def is_open(self) -> bool:
        """Whether more may come."""

    @property
    def pause(self) -> float:
        """Seconds between two looks at least."""

    def take(self) -> Arrived:
        """What has come since the last look; it does not wait for anything."""


@dataclass(frozen=True)
class Share:
    """What one of several processes takes of the arrivals that all of them see; the first one tells of the refused."""

    arrivals: Arrivals
    rank: int
    count: int

    @property
    def example(self) -> TrainConfig:
        return self.arrivals.example

    @property
    def is_open(self) -> bool:
        return self.arrivals.is_open

    @property
    def pause(self) -> float:
        return self.arrivals.pause

    def take(self) -> Arrived:
        arrived = self.arrivals.take()
        own = [config for config in arrived.configs if self.is_own(config)]
        return Arrived(own, arrived.refused, arrived.notes) if self.rank == 0 else Arrived(own)

    def is_own(self, config: TrainConfig) -> bool:
        """By the name, which all processes find the same, in whatever order they see the lists."""
        return crc32(config.run_name.encode()) % self.count == self.rank


class Intake:
    """Looks for arrivals now and then, and keeps those that cannot be tried from coming further."""

    def __init__(self, arrivals: Arrivals, endings: Endings, console: Console) -> None:
        self.arrivals = arrivals
        self.endings = endings
        self.console = console
        self.pace = Pace(arrivals.pause, 1.0)

    def take(self) -> list[TrainConfig]:
        """Those that have come since the last look and may be tried; none where that was a moment ago."""
        if not self.pace.is_due:
            return []
        with self.pace.doing():
            arrived = self.arrivals.take()
        for note in arrived.notes:
            self.console.note(note)
        found = look_up(arrived.configs, arrived.refused, few=FEW)
        self.console.expect(len(found.ready) + len(found.failures))
        self.endings.turn_down(found, arrived.refused)
        return found.ready
