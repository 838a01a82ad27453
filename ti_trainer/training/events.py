"""What is heard of a run: events while it goes on, and at its end what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..embedding_files import Embedding
from ..families import load_into_pipeline
from ..families.borrowing import Pipeline
from ..reports.notebook_view import run_as_html


@dataclass(frozen=True, repr=False)
class Run:
    """What a finished run leaves; folder and embedding are URLs where the output is one."""

    token: str
    folder: Path | str
    embedding: Path | str  # the file for WebUIs
    history: list[dict[str, Any]]  # the lines of metrics.jsonl
    best_step: int  # the step whose rows were saved
    predicted_peak: int  # bytes of memory that the first concept was expected to take
    peak: int  # the most that this process has taken so far
    learned: Embedding | None = field(default=None, compare=False)  # None where the run had been finished before

    def load_into(self, pipeline: Pipeline, token: str | None = None) -> str:
        """Load what was learned into a diffusers pipeline; returns what to write in prompts.

        As `load_into_pipeline`, of which it has the errors, and without a file in between.
        """
        return load_into_pipeline(pipeline, self.learned or self.embedding, token)

    @property
    def losses(self) -> list[float]:
        """The losses under fixed noise after the first step."""
        return [line["validation_loss"] for line in self.history if "validation_loss" in line]

    def __repr__(self) -> str:
        steps = self.history[-1]["step"] if self.history else self.best_step
        loss = f", loss {min(self.losses):.5f}" if self.losses else ""
        return f"{self.token}: rows of step {self.best_step} of {steps}{loss}\n{self.embedding}\n{self.folder}"

    def _repr_html_(self) -> str:
        """What a notebook shows: the pictures of the run, as far as there are some, and where its files are."""
        return run_as_html(repr(self).splitlines(), Path(self.folder))


@dataclass(frozen=True)
class Event:
    """Something that has happened to a run; `kind` says what, for callbacks that ask for it by name."""

    kind: ClassVar[str]
    run: str  # the name of its folder
    step: int  # steps done


@dataclass(frozen=True)
class StepDone(Event):
    kind = "step"
    record: Mapping[str, Any]  # the line of metrics.jsonl


@dataclass(frozen=True)
class Measured(Event):
    """The fixed-noise loss has been measured."""

    kind = "measured"
    loss: float
    best_step: int  # the step with the least loss so far, this one included


@dataclass(frozen=True)
class PreviewDrawn(Event):
    """The rows of a step have been drawn."""

    kind = "preview"
    file: Path  # the growing picture of all steps
    pictures: tuple[Path, ...]  # those of this step, a file for each prompt and seed


@dataclass(frozen=True)
class CheckpointSaved(Event):
    kind = "checkpoint"
    file: Path


@dataclass(frozen=True)
class Finished(Event):
    """Its files are published."""

    kind = "finished"
    result: Run


Callback = Callable[[Event], None]
