"""The concepts that are being trained, each in a seat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from ..runs.folder import RunFolder
from .learner import Learner
from .report import Report


@dataclass(eq=False)
class Seat:
    """A concept that is being trained."""

    learner: Learner
    folder: RunFolder
    report: Report | None  # in the process that writes its files
    begun_at: int  # the step from which this process trains it
    is_settled: bool = False  # its first step is behind it, and all that could wait for that is done

    @property
    def is_due(self) -> bool:
        """Whether something is to be done now that needs the losses, or the rows as they are."""
        learner = self.learner
        is_written = learner.is_saved_now or learner.is_exported_now or learner.is_previewed_now
        return not self.is_settled or learner.is_measured_now or is_written

    def close(self) -> None:
        """Close its files, give back its lock, its rows' place in the vocabulary, and the copies of its pictures."""
        with ExitStack() as rest:  # all of it, whatever one of them raises
            rest.callback(self.learner.session.close)
            if self.report:
                rest.callback(self.folder.release)
                self.report.close()


class Seats:
    """The seats that are taken, in the order in which their concepts came in."""

    def __init__(self) -> None:
        self._taken: list[Seat] = []

    def __iter__(self) -> Iterator[Seat]:
        """Over those that are taken now: they may be left on the way."""
        return iter(list(self._taken))

    def __len__(self) -> int:
        return len(self._taken)

    @property
    def learners(self) -> list[Learner]:
        return [seat.learner for seat in self._taken]

    @property
    def examples(self) -> int:
        """How many are in a step of all of them."""
        return sum(learner.config.batch_size for learner in self.learners)

    def take(self, seat: Seat) -> None:
        self._taken.append(seat)

    def leave(self, seat: Seat) -> None:
        """Close a seat and give it up, unless that has been done."""
        if seat in self._taken:
            self._taken.remove(seat)
            seat.close()

    def leave_all(self) -> None:
        for seat in self:
            self.leave(seat)
