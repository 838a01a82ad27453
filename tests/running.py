"""Runs in tests: what makes their configs, and what is read back from their folders."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from ti_trainer import Run, TrainConfig
from ti_trainer.embedding_files import read_embedding
from ti_trainer.training.events import Callback, Event, StepDone

TOKEN = "<my-cat>"  # of the base settings

MakeConfig = Callable[..., TrainConfig]
MakeTwo = Callable[..., list[TrainConfig]]


def exported(run: Run) -> Tensor:
    return read_embedding(run.embedding).vectors["clip_l"]


def checkpoint(folder: Path, step: int) -> dict[str, Tensor]:
    return load_file(folder / "checkpoints" / f"step-{step:06d}.safetensors")


def history_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the seconds."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def losses_measured(run: Run) -> dict[int, float]:
    return {line["step"]: line["validation_loss"] for line in run.history if "validation_loss" in line}


def on_step(look: Callable[[Mapping[str, Any]], object]) -> Callback:
    """A callback that gives `look` each line of metrics.jsonl, and leaves other events alone."""

    def callback(event: Event) -> None:
        if isinstance(event, StepDone):
            look(event.record)

    return callback


def interrupting(step: int) -> Callback:
    """A callback as if somebody pressed Ctrl-C after a step was told."""

    def look(line: Mapping[str, Any]) -> None:
        if line["step"] == step:
            signal.raise_signal(signal.SIGINT)

    return on_step(look)
