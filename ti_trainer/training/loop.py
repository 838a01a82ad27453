"""The loop: concepts come in, share steps until each has learned enough, and are published."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from ..config.config import TrainConfig
from ..errors import BadInput, Diverged, Interrupted
from ..families import Family
from ..runs.folder import RunFolder
from .console import Console
from .export import export_embedding
from .learner import Learner, Reading
from .memory.machine import give_back, peak_bytes
from .memory.plan import plan_memory
from .prepare import Session, load_model, prepare
from .processes import Processes
from .report import Callback, Report, describe, describe_plan
from .signals import StopSignals
from .step import SharedStep, largest_batch

READ_EVERY = {"cpu": 1}  # steps between readings of the loss, by kind of device; elsewhere
READ_SELDOM = 10


@dataclass(frozen=True)
class Run:
    """What a finished run leaves; folder and embedding are URLs where the output is one."""

    folder: Path | str
    embedding: Path | str  # the file for WebUIs
    history: list[dict[str, Any]]  # the lines of metrics.jsonl
    best_step: int  # the step whose rows were saved
    predicted_peak: int  # bytes of memory that the first concept was expected to take
    peak: int  # the most that this process has taken so far


@dataclass
class Seat:
    """A concept that is being trained."""

    learner: Learner
    folder: RunFolder
    report: Report | None  # in the process that writes its files
    begun_at: int  # the step from which this process trains it
    is_settled: bool = False  # its first step is behind it, and all that could wait for that is done

    @property
    def is_due(self) -> bool:
        """Whether something is to be done now that needs the losses."""
        learner, config = self.learner, self.learner.config
        return (
            not self.is_settled
            or learner.is_done
            or learner.is_measured_now
            or learner.step % config.checkpoint_every == 0
        )


class Loop:
    """The concepts that wait, those that are being trained, and what has become of the others."""

    def __init__(
        self,
        configs: Sequence[TrainConfig],
        processes: Processes,
        callbacks: Sequence[Callback],
        started: float,
        many: bool,
        console: Console,
    ) -> None:
        self.processes, self.callbacks, self.started, self.many = processes, callbacks, started, many
        self.console = console
        self.waiting = deque(configs)
        self.seats: list[Seat] = []
        self.runs: list[Run] = []
        self.failures: dict[str, Exception] = {}
        self.load = cache(partial(load_model, configs[0], processes.device, processes.dtype))
        self.family: Family | None = None
        self.rounds = 0
        kind = processes.device.type
        self.read_every = configs[0].log_every or READ_EVERY.get(kind, READ_SELDOM)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Whatever happens inside the block, files are closed and locks given back."""
        try:
            yield
        finally:
            for seat in list(self.seats):
                self.leave(seat)
            self.console.close()

    def run(self, signals: StopSignals) -> None:
        """All steps of all concepts."""
        self.admit()
        if self.seats:
            self.step.family.put_away_vae()  # it comes back for the other views, when the first step is done
        while self.seats:
            losses = self.step.gradients([seat.learner for seat in self.seats])
            for seat, loss in zip(self.seats, losses, strict=True):
                seat.learner.update(loss)
            self.rounds += 1
            self.console.advance(len(self.seats))
            stop = signals.received is not None
            alone = self.processes.count == 1  # others must hear of the wish first, when all are reading
            if self.rounds % self.read_every == 0 or (stop and alone) or any(seat.is_due for seat in self.seats):
                self.read(self.processes.any(stop), signals)
                if not alone or signals.received is None:
                    self.admit()
        if self.waiting:
            raise Interrupted(self.how_to_go_on(), signals.received or 0)

    def admit(self) -> None:
        """Let concepts in while the batch of those that are being trained has room for theirs."""
        while self.waiting and self.has_room(self.waiting[0]):
            config = self.waiting.popleft()
            seat, problem = None, None
            try:
                seat = self.open(config)
            except (BadInput, OSError) as error:
                problem = error
            if seat:
                self.seats.append(seat)
            if self.stops_here(config, seat, problem) or not seat:
                continue
            self.console.begin(seat.learner)
            if seat.learner.is_done:  # it was stopped before it was published, or is resumed once more
                self.try_to_finish(seat)

    def stops_here(self, config: TrainConfig, seat: Seat | None, problem: BadInput | OSError | None) -> bool:
        """Whether any process cannot train a concept, or need not; then none does, or it would wait for that one.

        A concept with a problem has failed for all of them, for the reason of the first that has one.
        """
        of_all = self.processes.gather((seat is not None, str(problem) if problem else ""))
        stops = not all(has_seat and not reason for has_seat, reason in of_all)
        if seat and stops:
            self.leave(seat)
        reasons = [reason for _, reason in of_all if reason]
        if reasons:
            self.fail(config, problem or BadInput(reasons[0]))
        return stops

    def has_room(self, config: TrainConfig) -> bool:
        if not self.seats:
            return True
        taken = sum(seat.learner.config.batch_size for seat in self.seats)
        # told from settings alone, and not from the memory: all processes that share examples must let in the same
        most = largest_batch(config)(self.seats[0].learner.data.shape) * self.processes.count
        return taken + config.batch_size <= most

    def open(self, config: TrainConfig) -> Seat | None:
        """Make a concept ready; None where it is finished already, or somebody else is at work on it."""
        folder = RunFolder(config)
        writes = self.processes.is_main
        with ExitStack() as undo:
            if self.many and writes:  # a single run writes nothing before all is checked, not even a lock
                if not folder.acquire():
                    self.console.say(f"{config.run_name} is being trained by another process")
                    return None
                undo.callback(folder.release)
            if self.many and folder.is_complete:
                self.console.say(f"{config.run_name} is finished already")
                return None
            owner = f"{config.output}/{config.run_name}"
            session = prepare(config, self.load, owner)
            undo.callback(session.family.placeholders.remove, owner)
            if self.family is None:
                self.make_step(session)
            learner = Learner(session)
            if writes and not self.many:
                if not folder.acquire():
                    raise BadInput(f"another process is training into {folder.path}; choose another --name")
                undo.callback(folder.release)
            if folder.steps_saved() and not config.overwrite:  # also of a process of this job that was killed
                learner.restore(folder.load_checkpoint())
            for index in self.processes.share(config.batch_size):
                learner.draw(index).view.encode()  # encoded here, where a picture that has gone stops nobody else
            report = self.start_report(learner, folder) if writes else None
            undo.pop_all()
        return Seat(learner, folder, report, learner.step)

    def make_step(self, session: Session) -> None:
        """Decide how batches are cut, for pictures such as those of the first concept."""
        config, data = session.config, session.data
        shape = max((view.shape for shown in data.views for view in shown), key=math.prod)
        wanted = sum(each.batch_size for each in (config, *self.waiting))
        captions = {caption for example in data.examples for caption in example.captions}
        distinct = min(1.0, len(captions) / config.batch_size)
        family, how = session.family, (config.micro_batch_size, config.gradient_checkpointing)
        self.plan = plan_memory(family, shape, wanted, *how, max(captions, key=len), distinct)
        if self.plan.gradient_checkpointing:
            family.checkpoint_activations()
        positions = self.plan.micro_batch * math.prod(shape[1:])
        self.step = SharedStep(family, self.processes, largest_batch(config, positions))
        self.family = family

    def start_report(self, learner: Learner, folder: RunFolder) -> Report:
        """The first files of a run."""
        session = learner.session
        folder.create()  # after a resume too: it may be asked for more steps
        norms = {slot.name: slot.table.float().norm(dim=1).mean().item() for slot in session.family.slots}
        report = Report(learner, folder, self.started, norms, self.callbacks)
        if learner.step == 0:
            folder.save_checkpoint(learner.checkpoint())
        if not self.many:
            self.console.say("\n".join([*describe(session), describe_plan(self.plan)]))
        self.console.notes(session.warnings)
        return report

    def read(self, stop: bool, signals: StopSignals) -> None:
        """Wait for the losses, and do what is to be done with them."""
        readings = {}
        for seat in list(self.seats):
            readings[id(seat)], bad = seat.learner.take_readings()
            if bad:
                self.diverge(seat, readings[id(seat)], bad)
        measured = [seat.learner for seat in self.seats if seat.learner.is_measured_now]
        found = dict(zip(map(id, measured), self.step.fixed_noise_losses(measured), strict=True))
        for seat in self.seats:
            learner, loss = seat.learner, found.get(id(seat.learner))
            if loss is not None and loss < learner.best_loss:
                learner.keep(learner.step, loss)
            if seat.report:
                self.console.show(seat.report.steps(readings[id(seat)], loss))
        self.settle([seat for seat in self.seats if not seat.is_settled])
        for seat in list(self.seats):
            learner = seat.learner
            if seat.report and (stop or learner.is_done or learner.step % learner.config.checkpoint_every == 0):
                seat.folder.save_checkpoint(learner.checkpoint())
            if learner.is_done:
                self.try_to_finish(seat)
        if stop and (self.seats or self.waiting):
            raise Interrupted(self.how_to_go_on(), signals.received or 0)

    def settle(self, seats: Sequence[Seat]) -> None:
        """What could wait until the first step was done: encoding the other views, and measuring the first rows."""
        if not seats:
            return
        if self.rounds == 1:
            self.console.say(f"first step after {time.perf_counter() - self.started:.1f} s")
        give_back()  # activations of the first step, before the VAE makes its own
        for seat in seats:
            problem = self.encode(seat.learner.session)
            seat.is_settled = not self.stops_here(seat.learner.config, seat, problem)
        if not self.waiting:
            self.step.family.put_away_vae()
        settled = [seat for seat in seats if seat.is_settled]
        new = [seat.learner for seat in settled if seat.begun_at == 0 and seat.learner.config.validate_every]
        with ExitStack() as held:
            for learner in new:
                held.enter_context(learner.holding(learner.initial))
            for learner, loss in zip(new, self.step.fixed_noise_losses(new), strict=True):
                if loss <= learner.best_loss:
                    learner.keep(0, loss)

    def encode(self, session: Session) -> BadInput | OSError | None:
        """Encode the views that are left; returns the problem when a picture has changed or gone."""
        known = len(session.warnings)
        try:
            session.encode_rest()
        except (BadInput, OSError) as problem:
            return problem
        self.console.notes(session.warnings[known:])
        return None

    def try_to_finish(self, seat: Seat) -> None:
        """What keeps one concept from being published does not stop the others."""
        try:
            self.finish(seat)
        except (BadInput, OSError) as problem:
            self.leave(seat)
            self.fail(seat.learner.config, problem)

    def finish(self, seat: Seat) -> None:
        """Write what a concept has become, and publish it."""
        learner, folder, config = seat.learner, seat.folder, seat.learner.config
        if not config.validate_every:
            learner.keep(learner.step, float("nan"))
        history = []
        if seat.report:
            export_embedding(learner.session, folder, learner.best_rows, learner.best_step)
            if config.plots:
                seat.report.draw_summary()
            history = folder.read_metrics()
            folder.publish({"token": config.concept.trigger, "step": learner.step, "best_step": learner.best_step})
            self.console.advance(config.steps - learner.step)  # there are some where it stopped early
            self.console.tell(learner, folder, peak_bytes(self.processes.device))
        self.leave(seat)
        places = folder.location, folder.location_of(folder.embedding)
        peak = peak_bytes(self.processes.device)
        self.runs.append(Run(*places, history, learner.best_step, self.plan.peak, peak))

    def diverge(self, seat: Seat, readings: Sequence[Reading], bad: Reading) -> None:
        """Save the last good rows of a concept, to which its learner has gone back."""
        learner, folder, config = seat.learner, seat.folder, seat.learner.config
        if not config.validate_every:
            learner.keep(learner.step, float("nan"))
        if seat.report:
            seat.report.steps(readings, None)
            folder.drop_checkpoints_after(learner.step)
            folder.save_checkpoint(learner.good)
            export_embedding(learner.session, folder, learner.best_rows, learner.best_step)
        self.leave(seat)
        self.fail(
            config,
            Diverged(
                f"the loss became NaN or infinite at step {bad.step}; the rows of step {learner.step} are saved in "
                f"{folder.path}. Start again with a lower --lr than {config.lr:g} and --overwrite"
            ),
        )

    def leave(self, seat: Seat) -> None:
        self.seats.remove(seat)
        if seat.report:
            seat.report.close()
            seat.folder.release()
        self.step.family.placeholders.remove(seat.learner.data.owner)
        if seat.learner.session.scratch:
            seat.learner.session.scratch.cleanup()

    def fail(self, config: TrainConfig, problem: BadInput | Diverged | OSError) -> None:
        if not self.many:
            raise problem
        self.failures[config.run_name] = problem
        self.console.say(f"{config.run_name} failed: {problem}")

    def how_to_go_on(self) -> str:
        if self.many:
            return "stopped, and everything is saved; to go on: the same command with --resume"
        learner, folder = self.seats[0].learner, self.seats[0].folder
        return f"stopped after step {learner.step} of {learner.config.steps}; to go on:\n  {folder.resume_command}"
