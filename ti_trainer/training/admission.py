"""How concepts come in: the model they share, who is let in when, and what can wait until the first step is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from ..config.config import TrainConfig
from ..errors import BadInput
from ..families import Family
from ..files.wording import flag, told
from ..runs.folder import RunFolder
from ..runs.resume import check_locked, finished, is_complete
from .arrivals import Arrivals, Intake
from .console import Console
from .endings import Endings, telling_of
from .events import Callback, Measured
from .failures import forget_bug
from .gallery import Budget
from .gathering import Gathered
from .learner import Learner
from .memory.machine import give_back
from .prefetch import Prefetch
from .prepare import Session, encode_rest, prepare
from .report import Report
from .seats import Seat, Seats
from .shared_model import SharedModel
from .signals import StopNow
from .step import largest_batch
from .suggestion import find_init

AHEAD = 64  # concepts that wait, of a job to which more may come: then nobody looks for others


class Admission:
    """Lets concepts in while the batch of those that are being trained has room for theirs."""

    def __init__(
        self,
        configs: Sequence[TrainConfig],
        model: SharedModel,
        seats: Seats,
        endings: Endings,
        console: Console,
        callbacks: Sequence[Callback],
        started: float,
        is_list: bool,
        arrivals: Arrivals | None = None,
    ) -> None:
        """started: by time.perf_counter(), when the job was asked for; is_list: others may do, or have done, some.

        arrivals: more of them, while the job goes on.
        """
        self.waiting = deque(configs)
        self.intake = Intake(arrivals, endings, console) if arrivals else None
        self.is_list = is_list
        self.model = model
        self.processes = model.processes
        self.seats = seats
        self.endings = endings
        self.console = console
        self.callbacks = callbacks
        self.started = started
        self.budget = Budget(started)
        self.prefetch = Prefetch()

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return self.intake is not None and self.intake.arrivals.is_open

    def admit(self) -> None:
        """Let in as many of those that wait as there is room for."""
        if self.intake and len(self.waiting) < AHEAD:
            self.waiting.extend(self.intake.take())
        while self.waiting and self.has_room(self.waiting[0]):
            config = self.waiting.popleft()
            seat = None
            problem: Exception | None = None
            try:
                seat = self.open(config)
                if seat:
                    self.seats.take(seat)
            except Exception as error:  # of any kind: it is this concept's alone
                problem = error
            except StopNow:
                self.waiting.appendleft(config)
                raise
            self.prefetch.drop(config)
            agreed, reason = self.agree(seat is not None, problem)
            if not agreed:
                self.turn_away(config, seat, problem, reason)
            if not agreed or not seat:
                continue
            self.console.begin(seat.learner, self.model.plan)
            for warning in seat.learner.session.warnings:
                self.console.note(warning)
            self.read_ahead()
            if seat.learner.is_done:  # it was stopped before it was published, or is resumed once more
                self.endings.finish(seat, self.model.plan)
        self.read_ahead()

    def read_ahead(self) -> None:
        """Let the thread begin with those that wait, once the model is there."""
        if self.waiting and self.model.is_planned:
            family = self.model.load()  # itself, and not what gives it: nobody loads it again for a late thread
            self.prefetch.start(self.waiting, lambda: family)

    def has_room(self, config: TrainConfig) -> bool:
        if not self.seats:
            return True
        # from settings alone, and not from the memory: all processes that share examples must let in the same
        most = largest_batch(config)(self.seats.learners[0].data.shape) * self.processes.count
        return self.seats.examples + config.batch_size <= most

    def open(self, config: TrainConfig) -> Seat | None:
        """Make a concept ready; None where it is finished already, or somebody else is at work on it."""
        folder = RunFolder(config)
        writes = self.processes.is_main
        with ExitStack() as undo:
            if self.is_list and writes:  # a run of its own writes nothing before all is checked, not even a lock
                if not folder.acquire():
                    self.console.passed(config.run_name, f"is being trained by {folder.lock.holder}")
                    return None
                undo.callback(folder.release)
            entry = finished(folder)
            if self.is_list and writes:
                check_locked(folder, entry, self.is_list)
            if entry and is_complete(folder, entry) and (self.is_list or not folder.checkpoints.steps()):
                self.console.passed(config.run_name, "is finished already")
                if not self.is_list:
                    self.endings.find_published(folder, entry)
                    if writes and folder.acquire():
                        folder.release()  # that was for what a kill left of the local copy
                return None
            ahead = self.prefetch.take(config)
            if ahead:
                undo.callback(ahead.close)
            if config.concept.seeks_words:
                config = with_words(config, self.model.load, ahead, self.console)
                folder.resolve(config)
            owner = f"{config.output}/{config.run_name}"  # two concepts of a job may have one token
            is_same = ahead and ahead.config.concept.scene == config.concept.scene  # captions name it
            session = prepare(config, self.model.load, owner, ahead if is_same else None)
            undo.callback(session.close)
            if not self.model.is_planned:
                together = (config, *self.waiting) if not self.is_open else [config] * AHEAD
                self.model.make_plan(session, sum(each.batch_size for each in together))
            learner = Learner(session)
            if writes and not self.is_list:
                if not folder.acquire():
                    holder = folder.lock.holder
                    raise BadInput(f"{holder} is training into {folder.path}; choose another {flag('name')}")
                undo.callback(folder.release)
                check_locked(folder, finished(folder), self.is_list)
            notes = [folder.lock.note] if folder.lock.note else []
            if not config.overwrite:  # also what a process of this job has left that was killed
                notes += folder.checkpoints.use_newest(learner.restore)
            for index in self.processes.share(config.batch_size):
                learner.draw(index).view.encode()  # here, where a picture that has gone stops nobody else
            report = None
            if writes:
                report = Report(
                    learner, folder, self.started, self.callbacks, self.budget, self.console, self.model.plan
                )
                with telling_of(folder):
                    folder.create()  # after a resume too: it may be asked for more steps
                    forget_bug(folder)
                    notes += report.open()
            for note in notes:
                self.console.note(note)
            undo.pop_all()
        return Seat(learner, folder, report, learner.step)

    def settle(self, seats: Sequence[Seat]) -> None:
        """What could wait until the first step was done: encoding the other views, and measuring the first rows."""
        if not seats:
            return
        give_back()  # activations of the first step, before the VAE makes its own
        for seat in seats:
            seat.is_settled = self.attempt(seat, partial(self.encode, seat.learner.session))
        if not self.waiting:
            self.model.step.family.put_away_vae()
        new = [s for s in seats if s.is_settled and s.begun_at == 0 and s.learner.config.validate_every]
        with ExitStack() as held:
            for seat in new:
                held.enter_context(seat.learner.holding(seat.learner.initial))
            losses = self.model.step.fixed_noise_losses([seat.learner for seat in new])
            for seat, loss in zip(new, losses, strict=True):
                seat.learner.keep_start(loss)
                if seat.report:
                    seat.report.tell(Measured(seat.folder.name, 0, loss, seat.learner.best_step))

    def encode(self, session: Session) -> None:
        """Encode the views that are left."""
        for note in encode_rest(session):
            self.console.note(note)

    def attempt(self, seat: Seat, action: Callable[[], object]) -> bool:
        """Do something for one concept; if that fails in any process it loses its seat, and the others go on."""
        problem: Exception | None = None
        try:
            action()
        except Exception as error:
            problem = error
        agreed, reason = self.agree(True, problem)
        if not agreed:
            self.turn_away(seat.learner.config, seat, problem, reason)
        return agreed

    def agree(self, has_seat: bool, problem: Exception | None) -> tuple[bool, str]:
        """Whether all processes that share examples train a concept, and the reason of the first that cannot.

        If one of them cannot, or need not, then none does: they would wait for it. "" is no reason: the concept is
        finished, or somebody else is at work on it.
        """
        of_all = self.processes.gather((has_seat, told(problem) if problem else ""))
        reasons = [reason for _, reason in of_all if reason]
        return not reasons and all(seated for seated, _ in of_all), next(iter(reasons), "")

    def turn_away(self, config: TrainConfig, seat: Seat | None, problem: Exception | None, reason: str) -> None:
        """Give up a concept; where there is a reason it has failed, also for processes that had no problem."""
        if seat and problem:
            self.endings.lose(seat, problem)
            return
        if seat:
            self.seats.leave(seat)
        if reason:
            self.endings.fail(config, problem or BadInput(reason))


def with_words(
    config: TrainConfig, load: Callable[[], Family], ahead: Gathered | None, console: Console
) -> TrainConfig:
    """The config with the words to start from, of which the console tells; ahead: what was gathered for it."""
    config, found = find_init(config, load, ahead)
    scene = f", and is {found.phrase.scene} in all pictures" if found.phrase.scene else ""
    console.say(
        f"{config.run_name} starts from '{config.concept.init}'{scene}, found in {found.passes:,} passes "
        f"and {found.seconds:.0f} s"
    )
    return config
