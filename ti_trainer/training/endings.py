"""What becomes of a concept: it is published, has diverged, or has failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import torch

from ..config.config import TrainConfig
from ..config.rows import Refusal
from ..config.settings import config_to_mapping
from ..embedding_files import Embedding
from ..errors import Diverged
from ..files.remote import failure
from ..files.wording import flag, in_words, printable, told
from ..runs.folder import RunFolder
from ..runs.resume import Entry
from ..runs.storage import Storage
from .console import Console
from .events import Finished, Run
from .export import export_embedding
from .failures import as_entry, reason_of
from .job_index import JobIndex
from .learner import Reading
from .lookup import Lookup, record_refusals
from .memory.machine import peak_bytes
from .memory.plan import MemoryPlan
from .processes import Processes
from .seats import Seat, Seats


class Endings:
    """Ends concepts, and keeps what has become of each."""

    def __init__(
        self,
        seats: Seats,
        processes: Processes,
        console: Console,
        listed: Sequence[TrainConfig] = (),
        keeps_runs: bool = True,
    ) -> None:
        """listed: the concepts of a list, which gets a page over all its runs; keeps_runs: not in a job without end."""
        self.seats = seats
        self.index = JobIndex(listed, console) if listed else None
        self.device = processes.device
        self.writes = processes.is_main
        self.console = console
        self.keeps_runs = keeps_runs
        self.runs: list[Run] = []
        self.finished = 0
        self.failures: dict[str, Exception] = {}  # by the name of the run

    def finish(self, seat: Seat, plan: MemoryPlan) -> None:
        """Publish a concept and give up its seat; what keeps it from being published does not stop the others."""
        try:
            run = self.publish(seat, plan)
        except Exception as problem:
            self.lose(seat, problem)
            return
        self.finished += 1
        if self.keeps_runs:
            self.runs.append(run)
        self.seats.leave(seat)
        if self.index and seat.report:
            self.index.write_now_and_then((each.learner.config for each in self.seats), self.failures)

    def sum_up(self, is_main: bool) -> dict[str, Exception]:
        """All failures of a job that has come to its end, which are told in the page over its runs if it is a list."""
        if self.index and is_main:
            self.index.write([], self.failures)
        return self.failures

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
            self.record(config, problem)
        self.failures[config.run_name] = problem
        self.console.failed(config.run_name, problem, config.origin.columns)

    def record(self, config: TrainConfig, problem: Exception) -> None:
        """Write a line of the manifest that says why a concept of a list was not learned."""
        if not self.writes:
            return
        entry = as_entry(problem, config.concept.trigger, config.origin.columns, config=config_to_mapping(config))
        try:
            Storage(config.output).record_failure(config.run_name, entry)
        except Exception as other:  # an output that is full, or dead, may be what the problem is about
            self.console.note(f"the failure of {config.run_name} is not in the manifest: {told(other)}")

    def turn_down(self, found: Lookup, refused: Sequence[Refusal]) -> None:
        """Take note of concepts that never had a seat, and tell of them."""
        record_refusals(refused, found)
        self.failures |= found.failures
        for name, problem in found.failures.items():
            self.console.failed(name, problem, found.columns.get(name))


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
