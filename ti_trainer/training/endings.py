"""What becomes of a concept: it is published, has diverged, or has failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import torch

from ..config.config import TrainConfig
from ..embedding_files import Embedding
from ..errors import Diverged
from ..files.remote import failure
from ..files.wording import flag, in_words, printable
from ..runs.folder import RunFolder
from ..runs.resume import Entry
from .console import Console
from .events import Finished, Run
from .export import export_embedding
from .failures import reason_of
from .job_index import JobIndex
from .learner import Reading
from .memory.machine import peak_bytes
from .memory.plan import MemoryPlan
from .seats import Seat, Seats


class Endings:
    """Ends concepts, and keeps what has become of each."""

    def __init__(
        self, seats: Seats, device: torch.device, console: Console, listed: Sequence[TrainConfig] = ()
    ) -> None:
        """listed: the concepts of a list, which gets a page over all its runs."""
        self.seats = seats
        self.index = JobIndex(listed, console) if listed else None
        self.device = device
        self.console = console
        self.runs: list[Run] = []
        self.failures: dict[str, Exception] = {}  # by the name of the run

    def finish(self, seat: Seat, plan: MemoryPlan) -> None:
        """Publish a concept and give up its seat; what keeps it from being published does not stop the others."""
        try:
            run = self.publish(seat, plan)
        except Exception as problem:
            self.lose(seat, problem)
            return
        self.runs.append(run)
        self.seats.leave(seat)
        if self.index and seat.report:
            self.index.write_now_and_then((each.learner.config for each in self.seats), self.failures)

    def sum_up(self, failures: Mapping[str, Exception], is_main: bool) -> dict[str, Exception]:
        """All failures of a job that has come to its end, which are told in the page over its runs if it is a list.

        failures: of concepts that never had a seat.
        """
        of_all = {**failures, **self.failures}
        if self.index and is_main:
            self.index.write([], of_all)
        return of_all

    def lose(self, seat: Seat, problem: Exception) -> None:
        """Give up the seat of a concept that something has kept from going on."""
        with suppress(OSError):  # its disk may refuse this too
            self.seats.leave(seat)
        self.fail(seat.learner.config, in_a_sentence(problem, seat.folder))

    def find_published(self, folder: RunFolder, entry: Entry) -> None:
        """Count a run as done that is published already; entry: of the manifest."""
        self.runs.append(
            Run(
                token=folder.config.concept.trigger,
                folder=folder.place(),
                embedding=folder.place(folder.files.embedding),
                history=folder.published_metrics(),
                best_step=entry.get("best_step", 0),
                predicted_peak=0,
                peak=peak_bytes(self.device),
            )
        )

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
                thumbnail = seat.report.draw_summary()
                if thumbnail and config.thumbnail:
                    export_embedding(learner.session, folder, learner.best_rows, learner.best_step, thumbnail)
            history = folder.metrics.read()
            folder.publish({"token": config.concept.trigger, "step": learner.step, "best_step": learner.best_step})
            self.console.advance(config.steps - learner.step)  # there are some where it stopped early
            self.console.finished(learner, folder, peak_bytes(self.device))
        run = Run(
            token=config.concept.trigger,
            folder=folder.place(),
            embedding=folder.place(folder.files.embedding),
            history=history,
            best_step=learner.best_step,
            predicted_peak=plan.peak,
            peak=peak_bytes(self.device),
            learned=Embedding(config.concept.trigger, {slot: rows.cpu() for slot, rows in learner.best_rows.items()}),
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
                folder.drop_after(learner.step)
                seat.report.write_checkpoint(learner.good)
                export_embedding(learner.session, folder, learner.best_rows, learner.best_step)
                seat.report.page.write("diverged")
        except Exception as error:
            problem = error
        if problem:
            self.lose(seat, problem)
            return
        self.seats.leave(seat)
        self.fail(learner.config, Diverged(why_diverged(seat, bad.step)))

    def fail(self, config: TrainConfig, problem: Exception) -> None:
        """Note why a concept was not learned; one of many is told a mistake of ours in a sentence."""
        if isinstance(problem, OSError):
            problem = OSError(in_words(problem))
        if self.index:
            problem = reason_of(problem, config)
        self.failures[config.run_name] = problem
        self.console.failed(config.run_name, problem)


def why_diverged(seat: Seat, step: int) -> str:
    """What is to be told of a loss or gradient that is no number, and what helps; step: the first with one."""
    learner = seat.learner
    saved = f"the rows of step {learner.step} are saved in {seat.folder.path}"
    what = f"the loss became NaN or infinite at step {step}; {saved}."
    again = flag("overwrite", True)
    if step > 1:
        return f"{what} Start again with a lower {flag('lr')} than {learner.config.lr:g} and {again}"
    # no row had moved: the learning rate had no part in it
    model = flag("model", learner.config.model)
    dtype = learner.session.family.dtype
    if dtype == torch.float32:
        return f"{what} No row had moved yet, so the weights of {model} are damaged; take another model and {again}"
    coarse = f"{str(dtype).removeprefix('torch.')} is too coarse for {model}"
    cure = f"start again with {flag('precision', 'fp32')} and {again}"
    return f"{what} No row had moved yet, so {coarse}, or its weights are damaged; {cure}"


@contextmanager
def telling_of(folder: RunFolder) -> Iterator[None]:
    """Inside the block only the files of a run are written; what keeps them from that is raised as a sentence."""
    try:
        yield
    except OSError as problem:
        raise in_a_sentence(problem, folder) from problem


def in_a_sentence(problem: Exception, folder: RunFolder) -> Exception:
    """A problem; one that keeps a run's files from being written with its place and its cure."""
    if not isinstance(problem, OSError) or problem.errno is None:  # it has both already
        return problem
    path = printable(folder.path)
    if not folder.path.exists():
        return OSError(f"{path} was removed or moved away while it was trained; run the same command again")
    return failure(problem, path, "written")
