"""What is said on the terminal: the bar, notes, and what is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Protocol

from ..files.wording import listing, printable, told
from ..reports.dataset_report import short_form
from ..reports.previews import Progress
from ..reports.texts import how_to_use
from ..runs.folder import RunFolder
from .gauges import Bar, Gauge, LogLines, is_seen_live
from .learner import Learner
from .memory.plan import MemoryPlan
from .outcome import describe_rows, warnings_of, why_ended
from .prepare import Session


class Console(Protocol):
    """Where a job says what it does; `train(console=...)` takes any."""

    def elsewhere(self) -> Console:
        """What takes its place in the other processes of a job, which have concepts of their own."""

    def expect(self, count: int) -> None:
        """So many concepts more are to be learned, or have failed already."""

    def begin(self, learner: Learner, plan: MemoryPlan) -> None:
        """A concept has come in, perhaps with steps that were done before; plan: of the job's batches."""

    def advance(self) -> None:
        """A step of all concepts is done."""

    def show(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """The latest lines of metrics.jsonl."""

    def drawing(self, what: str, work: int) -> AbstractContextManager[Progress]:
        """Pictures are drawn inside the block, which tells how many of so many denoising steps are done."""

    def say(self, text: str) -> None: ...

    def note(self, warning: str) -> None: ...

    def passed(self, name: str, why: str) -> None:
        """Nothing is to be done for a concept; why: to follow its name."""

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None:
        """A concept is published; peak: bytes of memory that this process took, 0 where nobody knows."""

    def failed(self, name: str, problem: Exception, columns: Mapping[str, Any] | None = None) -> None:
        """A concept cannot be trained, or not to its end; columns: as in TrainConfig."""

    def close(self) -> None: ...


class Silence:
    """A console that says nothing."""

    def elsewhere(self) -> Console:
        return self

    def expect(self, count: int) -> None: ...

    def begin(self, learner: Learner, plan: MemoryPlan) -> None: ...

    def advance(self) -> None: ...

    def show(self, lines: Sequence[Mapping[str, Any]]) -> None: ...

    def drawing(self, what: str, work: int) -> AbstractContextManager[Progress]:
        return nullcontext(lambda count: None)

    def say(self, text: str) -> None: ...

    def note(self, warning: str) -> None: ...

    def passed(self, name: str, why: str) -> None: ...

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None: ...

    def failed(self, name: str, problem: Exception, columns: Mapping[str, Any] | None = None) -> None: ...

    def close(self) -> None: ...


class Terminal:
    """How many concepts of a list are done, and a line for each that is finished."""

    is_list: ClassVar[bool] = True

    def __init__(self, started: float, gauge: Callable[[str, bool], Gauge] | None = None) -> None:
        """started: by time.perf_counter(), when the job was asked for; gauge: of GAUGES, None as it suits."""
        self.started = started
        self.make_gauge = gauge or (Bar if is_seen_live() else LogLines)
        self.gauge = self.make_gauge("", self.is_list)
        self.expected = 0  # concepts
        self.ended = 0  # of these
        self.at_work: dict[str, Learner] = {}
        self.shown: dict[str, str] = {}

    def elsewhere(self) -> Console:
        return Silence()

    def expect(self, count: int) -> None:
        self.expected += count

    def begin(self, learner: Learner, plan: MemoryPlan) -> None:
        self.at_work[learner.config.run_name] = learner
        self.advance()

    def advance(self) -> None:
        self.gauge.show(self.ended + sum(map(part_done, self.at_work.values())), self.expected)

    def show(self, lines: Sequence[Mapping[str, Any]]) -> None:
        for name in ("loss", "validation_loss"):
            values = [line[name] for line in lines if name in line]
            if values:
                self.shown[name.removesuffix("_loss")] = f"{values[-1]:.5f}"
        self.gauge.tell(self.shown)

    def drawing(self, what: str, work: int) -> AbstractContextManager[Progress]:
        return self.gauge.drawing(what, work)

    def say(self, text: str) -> None:
        self.gauge.say(text)

    def note(self, warning: str) -> None:
        self.gauge.say(f"note: {warning}", warns=True)

    def end(self, name: str) -> None:
        """Count a concept as one of which nothing more is to be expected."""
        self.at_work.pop(name, None)
        self.ended += 1
        self.advance()

    def passed(self, name: str, why: str) -> None:
        self.say(f"{name} {why}")
        self.end(name)

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None:
        self.say(f"{folder.name}: rows of step {learner.best_step} in {folder.place(folder.files.embedding)}")
        for warning in warnings_of(learner):
            self.note(f"{folder.name}: {warning}")
        self.end(folder.name)

    def failed(self, name: str, problem: Exception, columns: Mapping[str, Any] | None = None) -> None:
        self.say(f"{printable(name)} failed: {told(problem)}")
        self.end(name)

    def close(self) -> None:
        self.at_work.clear()  # nobody who keeps this console, or an error that knows it, keeps the model
        self.gauge.close()


class SingleTerminal(Terminal):
    """For one concept: what is about to happen, and at the end where its files go."""

    is_list = False

    def begin(self, learner: Learner, plan: MemoryPlan) -> None:
        self.say("\n".join([*describe(learner.session), describe_plan(plan)]))
        self.gauge = self.make_gauge(learner.data.token, self.is_list)
        super().begin(learner, plan)

    def advance(self) -> None:
        for learner in self.at_work.values():
            self.gauge.show(learner.config.steps if learner.is_done else learner.step, learner.config.steps)

    def passed(self, name: str, why: str) -> None:
        self.say(f"{name} {why}")

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None:
        concept = learner.config.concept
        seconds = time.perf_counter() - self.started
        self.advance()
        self.close()
        memory = f" with {peak / 2**30:.1f} GiB of memory" if peak else ""
        self.say(f"\nlearned in {seconds:.0f} s{memory}; everything is in {folder.place()}")
        if learner.config.plots:
            self.say(f"before and after:  {folder.place(folder.files.before_after)}")
            self.say(f"all there is to see, for a browser:  {folder.place(folder.files.report)}")
        reason = why_ended(learner)
        if reason:
            self.say(reason)
        self.say(f"\n{concept.trigger}  (rows of step {learner.best_step})")
        self.say("\n".join(describe_rows(learner)))
        for warning in warnings_of(learner):
            self.note(warning)
        self.say("\n".join(how_to_use(concept, folder, learner.session.family)))

    def failed(self, name: str, problem: Exception, columns: Mapping[str, Any] | None = None) -> None:
        """The job raises the problem of its only concept."""


def part_done(learner: Learner) -> float:
    """How much of its steps a concept has behind it, from 0 to 1."""
    return min(1.0, learner.step / learner.config.steps)


def describe(session: Session) -> list[str]:
    """What is about to happen, a line for the model and one for the concept."""
    config = session.config
    concept = config.concept
    family = session.family
    where = f"{family.device} {str(family.dtype).removeprefix('torch.')}"
    count = session.num_vectors
    start = "its own rows" if concept.tune else f"init {concept.init}"
    return [
        f"{config.model} at {session.resolution} px on {where}: {config.steps} steps of {config.batch_size}",
        f"{concept.token}: {count} vector{'s' * (count > 1)} ({start}), {short_form(session.data.examples)} "
        f"from {listing(concept.images)}",
    ]


def describe_plan(plan: MemoryPlan) -> str:
    """How much memory that takes."""
    how = " with gradient checkpointing" if plan.gradient_checkpointing else ""
    return f"at most {plan.micro_batch} pictures at once{how}, about {plan.peak / 2**30:.1f} GiB of memory"
