"""What becomes of a concept: it is published, has diverged, or has failed."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..config.config import TrainConfig
from ..errors import Diverged
from ..files.wording import flag
from .console import Console
from .events import Finished, Run
from .export import export_embedding
from .failures import reason_of
from .learner import Reading
from .memory.machine import peak_bytes
from .memory.plan import MemoryPlan
from .seats import Seat, Seats


class Endings:
    """Ends concepts, and keeps what has become of each."""

    def __init__(self, seats: Seats, device: torch.device, console: Console, is_list: bool = False) -> None:
        self.seats = seats
        self.device = device
        self.console = console
        self.is_list = is_list
        self.runs: list[Run] = []
        self.failures: dict[str, Exception] = {}  # by the name of the run

    def finish(self, seat: Seat, plan: MemoryPlan) -> None:
        """Publish a concept and give up its seat; what keeps it from being published does not stop the others."""
        try:
            run = self.publish(seat, plan)
        except Exception as problem:
            self.seats.leave(seat)
            self.fail(seat.learner.config, problem)
            return
        self.seats.leave(seat)
        self.runs.append(run)

    def publish(self, seat: Seat, plan: MemoryPlan) -> Run:
        """Write what a concept has become, and publish it."""
        learner = seat.learner
        folder = seat.folder
        config = learner.config
        learner.keep_last()
        history = []
        if seat.report:
            export_embedding(learner.session, folder, learner.best_rows, learner.best_step)
            if config.plots:
                seat.report.draw_summary()
            history = folder.metrics.read()
            folder.publish({"token": config.concept.trigger, "step": learner.step, "best_step": learner.best_step})
            self.console.advance(config.steps - learner.step)  # there are some where it stopped early
            self.console.finished(learner, folder, peak_bytes(self.device))
        run = Run(
            folder=folder.place(),
            embedding=folder.place(folder.files.embedding),
            history=history,
            best_step=learner.best_step,
            predicted_peak=plan.peak,
            peak=peak_bytes(self.device),
        )
        if seat.report:
            seat.report.tell(Finished(folder.name, learner.step, run))
        return run

    def diverge(self, seat: Seat, readings: Sequence[Reading], bad: Reading) -> None:
        """Save the last good rows of a concept, to which its learner has gone back, and give up its seat.

        readings: of the steps up to there; bad: of the first step that was not finite.
        """
        learner = seat.learner
        folder = seat.folder
        learner.keep_last()
        problem: Exception | None = None
        try:
            if seat.report:
                seat.report.write_steps(readings, None)
                folder.checkpoints.drop_after(learner.step)
                folder.checkpoints.save(learner.good)
                export_embedding(learner.session, folder, learner.best_rows, learner.best_step)
        except Exception as error:
            problem = error
        self.seats.leave(seat)
        self.fail(
            learner.config,
            problem
            or Diverged(
                f"the loss became NaN or infinite at step {bad.step}; the rows of step {learner.step} are saved in "
                f"{folder.path}. Start again with a lower {flag('lr')} than {learner.config.lr:g} and "
                f"{flag('overwrite', True)}"
            ),
        )

    def fail(self, config: TrainConfig, problem: Exception) -> None:
        """Note why a concept was not learned; one of many is told a mistake of ours in a sentence."""
        if self.is_list:
            problem = reason_of(problem, config)
        self.failures[config.run_name] = problem
        self.console.failed(config.run_name, problem)
