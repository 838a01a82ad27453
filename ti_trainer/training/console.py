"""What is said on the terminal: the bar, notes, and what is finished."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from tqdm.auto import tqdm

from ..files.wording import listing, printable, told
from ..reports.dataset_report import short_form
from ..reports.previews import Progress
from ..reports.texts import how_to_use
from ..runs.folder import RunFolder
from .learner import Learner
from .memory.plan import MemoryPlan
from .outcome import describe_rows, warnings_of, why_ended
from .prepare import Session


class Console(Protocol):
    """Where a job says what it does; `train(console=...)` takes any."""

    def begin(self, learner: Learner, plan: MemoryPlan) -> None:
        """A concept has come in, perhaps with steps that were done before; plan: of the job's batches."""

    def advance(self, steps: int) -> None:
        """So many steps more are done, of all concepts together."""

    def show(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """The latest lines of metrics.jsonl."""

    def drawing(self, what: str, work: int) -> AbstractContextManager[Progress]:
        """Pictures are drawn inside the block, which tells how many of so many denoising steps are done."""

    def say(self, text: str) -> None: ...

    def note(self, warning: str) -> None: ...

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None:
        """A concept is published; peak: bytes of memory that this process took, 0 where nobody knows."""

    def failed(self, name: str, problem: Exception) -> None:
        """A concept cannot be trained, or not to its end."""

    def close(self) -> None: ...


class Silence:
    """A console that says nothing."""

    def begin(self, learner: Learner, plan: MemoryPlan) -> None: ...

    def advance(self, steps: int) -> None: ...

    def show(self, lines: Sequence[Mapping[str, Any]]) -> None: ...

    def drawing(self, what: str, work: int) -> AbstractContextManager[Progress]:
        return nullcontext(lambda count: None)

    def say(self, text: str) -> None: ...

    def note(self, warning: str) -> None: ...

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None: ...

    def failed(self, name: str, problem: Exception) -> None: ...

    def close(self) -> None: ...


class Terminal:
    """One bar for the steps of all concepts of a list, and a line for each concept that is finished."""

    def __init__(self, started: float) -> None:
        """started: by time.perf_counter(), when the job was asked for."""
        self.started = started
        self.bar: tqdm | None = None
        self.shown: dict[str, str] = {}

    def begin(self, learner: Learner, plan: MemoryPlan) -> None:
        if self.bar is None:
            self.bar = tqdm(total=0, desc=self.title(learner), initial=learner.step)
        else:
            self.bar.update(learner.step)
        self.bar.total = (self.bar.total or 0) + learner.config.steps

    def title(self, learner: Learner) -> str:
        return "concepts"

    def advance(self, steps: int) -> None:
        if self.bar is not None:
            self.bar.update(steps)

    def show(self, lines: Sequence[Mapping[str, Any]]) -> None:
        for name in ("loss", "validation_loss"):
            values = [line[name] for line in lines if name in line]
            if values:
                self.shown[name.removesuffix("_loss")] = f"{values[-1]:.5f}"
        if self.bar is not None:
            self.bar.set_postfix(self.shown, refresh=False)

    @contextmanager
    def drawing(self, what: str, work: int) -> Iterator[Progress]:
        with tqdm(total=work, desc=what, leave=False) as bar:
            yield bar.update

    def say(self, text: str) -> None:
        tqdm.write(text)

    def note(self, warning: str) -> None:
        tqdm.write(f"note: {warning}", file=sys.stderr)

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None:
        self.say(f"{folder.name}: rows of step {learner.best_step} in {folder.place(folder.files.embedding)}")
        for warning in warnings_of(learner):
            self.note(f"{folder.name}: {warning}")

    def failed(self, name: str, problem: Exception) -> None:
        self.say(f"{printable(name)} failed: {told(problem)}")

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class SingleTerminal(Terminal):
    """For one concept: what is about to happen, and at the end where its files go."""

    def begin(self, learner: Learner, plan: MemoryPlan) -> None:
        self.say("\n".join([*describe(learner.session), describe_plan(plan)]))
        super().begin(learner, plan)

    def title(self, learner: Learner) -> str:
        return learner.data.token

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None:
        concept = learner.config.concept
        seconds = time.perf_counter() - self.started
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

    def failed(self, name: str, problem: Exception) -> None:
        """The job raises the problem of its only concept."""


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
