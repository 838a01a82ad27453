"""What is heard of a run: events while it goes on, and at its end what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Run:
    """What a finished run leaves; folder and embedding are URLs where the output is one."""

    folder: Path | str
    embedding: Path | str  # the file for WebUIs
    history: list[dict[str, Any]]  # the lines of metrics.jsonl
    best_step: int  # the step whose rows were saved
    predicted_peak: int  # bytes of memory that the first concept was expected to take
    peak: int  # the most that this process has taken so far


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
