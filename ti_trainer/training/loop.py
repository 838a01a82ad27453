"""The loop: concepts come in, share steps until each has learned enough, and are published."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from .admission import Admission
from .console import Console
from .endings import Endings
from .learner import Reading
from .seats import Seat, Seats
from .shared_model import SharedModel
from .signals import StopNow, StopSignals

READ_EVERY = {"cpu": 1}  # steps between readings of the loss, by kind of device; elsewhere
READ_SELDOM = 10
IDLE = 0.05  # seconds between two looks for concepts where there are none


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
        goes_on = self.is_loaded(self.admission.admit)
        if self.seats:
            self.model.step.family.put_away_vae()  # it comes back for the other views, when the first step is done
        while goes_on and (self.seats or self.admission.is_open):
            if not self.seats:  # nobody has come yet
                time.sleep(IDLE)
                goes_on = self.let_in()
                continue
            self.take_step()
            if self.must_read():
                goes_on = self.read(self.processes.any(self.signals.is_wished)) and self.let_in()
        return not (self.seats or self.admission.waiting or self.admission.is_open)

    def is_loaded(self, load: Callable[[], None]) -> bool:
        """Do what takes long and can be done again from its start; returns False where a signal has cut it short."""
        if not self.is_alone:  # the others would wait for this process
            load()
            return True
        try:
            with self.signals.acting_at_once():
                load()
        except StopNow:
            return False
        return True

    def let_in(self) -> bool:
        """Let in those that wait; returns False where the wish to stop came first, and all that goes on is saved."""
        stops = (self.is_alone and self.signals.is_wished) or not self.is_loaded(self.admission.admit)
        if stops:
            for seat in self.seats:
                if seat.is_settled:  # of others the first checkpoint is there
                    self.admission.attempt(seat, partial(self.save, seat, stops))
        return not stops

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
        self.console.advance()

    def must_read(self) -> bool:
        """Whether the losses are needed now; all processes that share examples say the same."""
        if self.rounds % self.read_every == 0 or any(seat.is_due for seat in self.seats):
            return True
        return self.is_alone and self.signals.is_wished  # others hear of the wish when all are reading

    def read(self, stop: bool) -> bool:
        """Wait for the losses, and do what is to be done with them; stop: save all that goes on.

        Returns whether the loop goes on.
        """
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
        new = [seat for seat in self.seats if not seat.is_settled]
        stop = stop or not self.is_loaded(lambda: self.admission.settle(new))
        stop = stop or not self.is_loaded(lambda: self.draw(new))
        for seat in self.seats:
            if stop and seat in new and seat.begun_at == 0:
                continue  # its start has not been measured: the first step is taken again
            if stop or seat.learner.is_saved_now:
                self.admission.attempt(seat, partial(self.save, seat, stop))
        for seat in self.seats:
            if seat.learner.is_done and not (stop and seat in new):
                self.endings.finish(seat, self.model.plan)
        return not stop

    def write_steps(self, seat: Seat, steps: Sequence[Reading], loss: float | None) -> None:
        """Write and show what a concept's last steps were; loss: the fixed-noise loss after them."""
        if seat.report:
            self.console.show(seat.report.write_steps(steps, loss))

    def draw(self, new: Sequence[Seat]) -> None:
        """Draw the previews that are due; new: those whose first step is just behind them."""
        for seat in self.seats:
            self.admission.attempt(seat, partial(self.draw_previews, seat, seat in new))

    def draw_previews(self, seat: Seat, is_new: bool) -> None:
        if seat.report:
            seat.report.draw_previews(is_new)

    def save(self, seat: Seat, stops: bool) -> None:
        if seat.report:
            seat.report.save_checkpoint()
            if stops:
                seat.report.page.write("stopped")

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
