"""The loop: concepts come in, share steps until each has learned enough, and are published."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from .admission import Admission, SharedModel
from .console import Console
from .endings import Endings
from .learner import Reading
from .seats import Seat, Seats
from .signals import StopSignals

READ_EVERY = {"cpu": 1}  # steps between readings of the loss, by kind of device; elsewhere
READ_SELDOM = 10


class Loop:
    """Trains the concepts in the seats, and lets in those that wait."""

    def __init__(
        self,
        model: SharedModel,
        seats: Seats,
        admission: Admission,
        endings: Endings,
        console: Console,
        signals: StopSignals,
    ) -> None:
        self.model = model
        self.seats = seats
        self.admission = admission
        self.endings = endings
        self.console = console
        self.signals = signals
        self.processes = model.processes
        self.read_every = model.config.log_every or READ_EVERY.get(self.processes.device.type, READ_SELDOM)
        self.rounds = 0  # steps that this process has taken, whichever concepts were in them

    def run(self) -> bool:
        """All steps of all concepts; returns False where it was stopped and some are left."""
        self.admission.admit()
        if self.seats:
            self.model.step.family.put_away_vae()  # it comes back for the other views, when the first step is done
        while self.seats:
            self.take_step()
            if not self.must_read():
                continue
            stop = self.processes.any(self.signals.is_wished)
            self.read(stop)
            if stop:
                break
            if not (self.is_alone and self.signals.is_wished):
                self.admission.admit()
        return not self.seats and not self.admission.waiting

    @property
    def is_alone(self) -> bool:
        """Whether no other process works on these concepts."""
        return self.processes.count == 1

    def take_step(self) -> None:
        """One step of every concept in a seat; nothing waits for the device."""
        learners = self.seats.learners
        for learner, loss in zip(learners, self.model.step.backward(learners), strict=True):
            learner.update(loss)
        self.rounds += 1
        self.console.advance(len(learners))

    def must_read(self) -> bool:
        """Whether the losses are needed now; all processes that share examples say the same."""
        if self.rounds % self.read_every == 0 or any(seat.is_due for seat in self.seats):
            return True
        return self.is_alone and self.signals.is_wished  # others hear of the wish when all are reading

    def read(self, stop: bool) -> None:
        """Wait for the losses, and do what is to be done with them; stop: save all that goes on."""
        readings = self.take_readings()
        if self.rounds == 1:
            self.console.say(f"first step after {time.perf_counter() - self.admission.started:.1f} s")
        measured = [seat for seat in readings if seat.learner.is_measured_now]
        losses = self.model.step.fixed_noise_losses([seat.learner for seat in measured])
        validation = dict(zip(measured, losses, strict=True))
        for seat, steps in readings.items():
            loss = validation.get(seat)
            if loss is not None:
                seat.learner.keep_if_better(loss)
            self.admission.attempt(seat, partial(self.write_steps, seat, steps, loss))
        self.admission.settle([seat for seat in self.seats if not seat.is_settled])
        for seat in self.seats:
            is_whole = True
            if stop or seat.learner.is_saved_now:
                is_whole = self.admission.attempt(seat, partial(self.save, seat))
            if is_whole and seat.learner.is_done:
                self.endings.finish(seat, self.model.plan)

    def write_steps(self, seat: Seat, steps: Sequence[Reading], loss: float | None) -> None:
        """Write and show what a concept's last steps were; loss: the fixed-noise loss after them."""
        if seat.report:
            self.console.show(seat.report.write_steps(steps, loss))

    def save(self, seat: Seat) -> None:
        if seat.report:
            seat.report.save_checkpoint()

    def take_readings(self) -> dict[Seat, list[Reading]]:
        """What each concept's last steps were; those that have diverged leave their seats."""
        good = {}
        for seat in self.seats:
            readings, bad = seat.learner.take_readings()
            if bad:
                self.endings.diverge(seat, readings, bad)
            else:
                good[seat] = readings
        return good
